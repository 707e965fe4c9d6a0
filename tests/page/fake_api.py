"""The API of docs/http.md over a plant that is not there, and every state that it can be in.

`python -m page.fake_api 8100` (with PYTHONPATH=tests) is for looking at the page; the browser tests
of what breaks start it in a thread. `World` is what they change while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from page import answers
from page.answers import PLANT
from page.plant import HOSTILE, NODES, STATES, node, now_ms

from consumer.http.guard import Guard
from consumer.http.page import page_router


class World:
    """What is the matter. Attributes are set by tests while the server runs."""

    def __init__(self):
        self.mode = "fine"  # or blocked, empty, worst
        self.key = ""  # is asked for when it is not empty
        self.role = "operator"
        self.signed_in = False
        self.streaming = True  # False ends the stream and refuses it
        self.silent = False  # True keeps the stream open and says nothing
        self.late = False  # True: the last values that came are history
        self.listening = 0  # streams that are open
        self.born = {}
        self.acts = []
        self.letters = [f"row-{n}" for n in range(7, 0, -1)]
        self.requests = []


def problem(status, error, detail):
    return Response(
        json.dumps({"error": error, "detail": detail}), status, media_type="application/json"
    )


def answer(body, status=200):
    return Response(json.dumps(body), status, media_type="application/json")


def page_of(items, limit, offset, **more):
    return answer(
        {
            "total": len(items),
            "offset": offset,
            "limit": limit,
            "items": list(items[offset : offset + limit]),
            **more,
        }
    )


def make(world):
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for add in (add_session, add_whole, add_nodes, add_tags, add_letters, add_actions):
        add(app, world)
    app.include_router(page_router())
    return Guard(app, SimpleNamespace(refused={}))


def add_session(app, world):
    @app.middleware("http")
    async def check_key(request: Request, go_on):
        path = request.url.path
        world.requests.append(str(request.url))
        if path.startswith(("/api", "/config")) and path != "/api/session":
            if world.key and not world.signed_in:
                return problem(401, "unauthorized", "no key; sign in on the page")
            if path.startswith("/api/actions") and world.role != "operator":
                return problem(403, "forbidden", "the key is a reader; this needs operator")
        return await go_on(request)

    def who():
        inside = not world.key or world.signed_in
        return {
            "needed": bool(world.key),
            "name": "on-call" if inside else None,
            "role": world.role if inside else None,
            "until_ms": None,
            "product": "sparkplug-zerobus",
            "version": "0.1.0",
        }

    @app.get("/api/session")
    def session():
        return answer(who())

    @app.post("/api/session")
    async def sign_in(request: Request):
        if (await request.json())["key"] != world.key:
            return problem(401, "unauthorized", "this key is not known; see http.keys")
        world.signed_in = True
        return answer(who())

    @app.delete("/api/session")
    def sign_out():
        world.signed_in = False
        return Response(status_code=204)


def add_whole(app, world):
    @app.get("/api/overview")
    def whole():
        at = now_ms() // 1000 * 1000
        rows = [answers.sample(world, at - s * 1000) for s in range(900, 0, -1)]
        if world.mode == "empty":
            rows = []
        columns = {k: [row[k] for row in rows] for k in answers.sample(world, at)}
        return answer(answers.overview(world) | {"samples": {"step_seconds": 1} | columns})

    @app.get("/api/stream")
    async def stream():
        if not world.streaming:
            return problem(
                429, "too_many", "as many listen as may; close a page that is not needed"
            )

        async def events():
            world.listening += 1
            try:
                while world.streaming:
                    if not world.silent:
                        body = answers.overview(world) | {"sample": answers.sample(world, now_ms())}
                        yield f"event: now\ndata: {json.dumps(body)}\n\n"
                    await asyncio.sleep(1)
            finally:
                world.listening -= 1

        return StreamingResponse(events(), media_type="text/event-stream")


def add_nodes(app, world):
    @app.get("/api/nodes")
    def nodes(
        *, search: str = "", state: str = "", sort: str = "", limit: int = 50, offset: int = 0
    ):
        if world.mode == "empty":
            return page_of([], limit, offset, states=dict.fromkeys(STATES, 0))
        found = [node(n, world.born.get(n)) for n in range(NODES)]
        counts = {s: sum(each["state"] == s for each in found) for s in STATES}
        words = search.lower()
        found = [
            each
            for each in found
            if words in f"{each['group']} {each['node']}".lower() and state in {"", each["state"]}
        ]
        found.sort(key=lambda each: list(STATES).index(each["state"]), reverse=sort == "-state")
        return page_of(found, limit, offset, states=counts)

    @app.get("/api/node")
    def one_node(server: str, group: str, node: str):
        if (server, group, node) not in PLANT.nodes:
            return problem(404, "not_found", "this node is not known")
        number = PLANT.nodes.index((server, group, node))
        return answer(answers.one_node(number, world))


def add_tags(app, world):
    @app.get("/api/tree")
    def tree(
        *,
        server: str = "",
        group: str = "",
        node: str = "",
        device: str = "",
        limit: int = 50,
        offset: int = 0,
    ):
        if world.mode == "empty":
            return page_of([], limit, offset)
        return page_of(answers.level(server, group, node, device), limit, offset)

    @app.get("/api/tags")
    def tags(
        *,
        search: str = "",
        server: str = "",
        group: str = "",
        node: str = "",
        device: str = "",
        sort: str = "",
        limit: int = 50,
        offset: int = 0,
    ):
        scope = {"server": server, "group": group, "node": node, "device": device}
        found = [] if world.mode == "empty" else PLANT.find(search, scope)
        if sort.startswith("-"):
            found = found[::-1]
        items = [PLANT.tag(i) for i in found[offset : offset + limit]]
        return answer(
            {"total": len(found), "offset": offset, "limit": limit, "version": 1, "items": items}
        )

    @app.get("/api/tag")
    def one_tag(*, server: str, group: str, node: str, name: str, device: str = ""):
        for i in PLANT.find("", {"server": server, "group": group, "node": node}):
            if PLANT.names[i][1:3] == (device or None, name):
                return answer(answers.one_tag(i, world))
        return problem(404, "not_found", "this tag is not known")


def add_letters(app, world):
    @app.get("/api/gaps")
    def gaps(limit: int = 50, offset: int = 0):
        found = [] if world.mode == "empty" else [answers.gap(n) for n in range(240)]
        account = {
            "expected": 100_000,
            "received": 99_640,
            "missing": 360 if found else 0,
            "percent": 99.6,
            "gaps": {"found": len(found), "open": 3},
            "nodes": NODES,
        }
        return page_of(found, limit, offset, account=account)

    @app.get("/api/letters")
    def letters(limit: int = 50, offset: int = 0):
        kept = [] if world.mode == "empty" else world.letters
        reasons = [
            {
                "reason": "poison",
                "kind": "row",
                "letters": len(kept),
                "rows": 28,
                "first_ms": now_ms() - 9e6,
                "last_ms": now_ms() - 6e4,
                "text": "rows that the service refuses",
                "mend": "compare the table with what `sparkplug-zerobus ddl` prints, then retry",
            }
        ]
        return page_of(
            [answers.letter(name) for name in kept], limit, offset, reasons=reasons if kept else []
        )

    @app.get("/api/letter")
    def one_letter(name: str):
        if name not in world.letters:
            return problem(404, "not_found", "there is no such letter")
        payload = "".join(HOSTILE[:5]).encode()
        return answer(
            {
                "letter": answers.letter(name),
                "topic": f"spBv1.0/Hostile/NDATA/{HOSTILE[2]}",
                "server": "plant-a",
                "received_ms": now_ms() - 60_000,
                "payload_hex": payload.hex(),
                "payload": {"metrics": HOSTILE},
                "rows": [{"event_id": "0" * 32, "tag_path": HOSTILE[0], "numeric_value": 1.5}],
                "rows_shown": 1,
                "mend": "compare the table with what `sparkplug-zerobus ddl` prints",
            }
        )

    @app.get("/api/config")
    def config():
        found = {
            "servers": [
                {
                    "name": "plant-a",
                    "url": "mqtts://broker:8883",
                    "password": "***",
                    "filters": ["spBv1.0/#"],
                }
            ],
            "zerobus": {
                "endpoint": "https://1.zerobus.example",
                "client_secret": "***",
                "table": HOSTILE[0],
            },
            "http": {"listen": "127.0.0.1:8099", "keys": []},
            "shutdown_timeout": "20s",
        }
        return answer(
            {
                "configuration": found,
                "warnings": [HOSTILE[4]],
                "changed": ["servers[0].url", "zerobus.table"],
            }
        )


def add_actions(app, world):
    @app.post("/api/actions/{action:path}")
    async def act(action: str, request: Request):
        body = await request.json()
        world.acts.append((action, body))
        if action == "rebirth":
            number = PLANT.nodes.index((body["server"], body["group"], body["node"]))
            threading.Timer(1.5, lambda: world.born.update({number: now_ms()})).start()
            return answer(
                {"asked": True, "text": f"{body['node']} is asked for its births within a second"},
                202,
            )
        if action.startswith("letters"):
            gone = [name for name in world.letters if body.get("all") or name in body["names"]]
            world.letters = [name for name in world.letters if name not in gone]
            return answer({"letters": len(gone)})
        return answer({"pauses": []})


class FakeServer(threading.Thread):
    """The server on a free port of 127.0.0.1; `stop` and `start_again` at the same port."""

    def __init__(self, world, port=0):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(
            make(world), log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)

    def run(self):
        with contextlib.suppress(SystemExit):
            self.server.run(sockets=[self.socket])

    def stop(self):
        self.server.should_exit = True
        self.join(10)
        self.socket.close()


if __name__ == "__main__":
    world = World()
    world.mode = sys.argv[2] if len(sys.argv) > 2 else "fine"
    world.key = sys.argv[3] if len(sys.argv) > 3 else ""
    fake = FakeServer(world, int(sys.argv[1]))
    fake.start()
    fake.join()
