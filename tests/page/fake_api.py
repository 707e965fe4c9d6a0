"""The API of docs/http.md over a plant that is not there, and every state that it can be in.

`python -m page.fake_api 8100` (with PYTHONPATH=tests) is for looking at the page; the browser tests
of what breaks start it in a thread. `World` is what they change while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import sys
import threading
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from page.plant import HOSTILE, NODES, STARTED, STATES, Plant, node, now_ms

from consumer.http.guard import Guard
from consumer.http.page import page_router

PLANT = Plant()
GRANT = (
    "grant USE CATALOG, USE SCHEMA and, on the table itself, SELECT and MODIFY to the service "
    "principal; `sparkplug-zerobus ddl` prints the statements"
)
MAY_NOT = "the service principal may not write to the table"


class World:
    """What is the matter. Attributes are set by tests while the server runs."""

    def __init__(self):
        self.mode = "fine"  # or blocked, empty, worst
        self.key = ""  # is asked for when it is not empty
        self.role = "operator"
        self.signed_in = False
        self.streaming = True  # False ends the stream and refuses it
        self.silent = False  # True keeps the stream open and says nothing
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


def sample(world, at):
    wave = 1 + 0.1 * math.sin(at / 30_000)
    fine = world.mode != "blocked"
    return {
        "time_ms": at,
        "messages_per_second": round(1042 * wave, 1),
        "rows_per_second": round(10_420 * wave, 1),
        "acknowledged_per_second": round(10_400 * wave, 1) if fine else 0.0,
        "rows_waiting": int(1200 * wave) if fine else 3_200_000,
        "latency_p50_seconds": round(0.21 * wave, 3) if fine else None,
        "latency_p99_seconds": round(0.9 * wave, 3) if fine else None,
    }


def overview(world):
    at = now_ms()
    blocked = world.mode in {"blocked", "worst"}
    newest = sample(world, at)
    cards = [
        ("servers", "MQTT servers", newest["messages_per_second"], "messages/s", "2 of 2 connected"),
        ("decode", "Decode", newest["rows_per_second"], "rows/s", "500 edge nodes, 100,000 tags"),
        ("spool", "Spool", newest["rows_waiting"], "rows waiting", "3% of 4 GiB used"),
        ("zerobus", "Zerobus", newest["acknowledged_per_second"], "rows/s acknowledged", "OPENED"),
    ]
    cards = [
        {"card": c, "level": "ok", "title": t, "number": n, "unit": u, "text": x, "cause": "", "mend": ""}
        for c, t, n, u, x in cards
    ]
    attention, state = [], {"level": "ok", "text": "All rows flow"}
    if blocked:
        cards[3] |= {"level": "wrong", "text": "BLOCKED", "cause": MAY_NOT, "mend": GRANT}
        state = {"level": "wrong", "text": f"Rows wait: {MAY_NOT}"}
        attention = [item("wrong", "delivery", f"Zerobus: {MAY_NOT}", GRANT, "#/overview")]
    if world.mode == "worst":
        for name in HOSTILE:
            attention.append(
                item("warning", "silent", f"plant-a: Hostile/{name} says nothing", name, "#/nodes")
            )
        attention.append(item("warning", "letters", "7 dead letters", HOSTILE[1], "javascript:alert(1)"))
    if world.mode == "empty":
        state = {"level": "unknown", "text": "No edge node has been heard yet"}
    difference = 3 if world.mode == "worst" else 0
    return {
        "now_ms": at,
        "product": "sparkplug-zerobus",
        "version": "0.1.0",
        "host_id": HOSTILE[0] if world.mode == "worst" else "plant-host",
        "host_mode": "active",
        "started_ms": STARTED,
        "state": state,
        "cards": cards,
        "attention": attention,
        "ledger": {
            "balanced": not difference,
            "difference": difference,
            "text": "produced 1,000,000 = acknowledged 998,800 + spooled 1,200 + dead-lettered 0 "
            f"+ dropped 0 + suppressed 0, difference {difference}",
        },
        "pauses": [],
        "versions": {"tags": 1, "nodes": 1, "letters": len(world.letters), "events": 1},
    }


def item(level, kind, text, mend, link):
    return {
        "level": level, "kind": kind, "text": text, "mend": mend,
        "since_ms": now_ms() - 900_000, "count": 1, "link": link,
    }  # fmt: skip


def letter(name):
    row = int(name.partition("-")[2])
    return {
        "name": name, "kind": "row", "set_aside_ms": now_ms() - row * 60_000,
        "where": "catalog.schema.tag_events", "reason": "poison",
        "error": HOSTILE[row % len(HOSTILE)], "rows": row, "bytes": row * 170,
        "to_be_retried": False, "may_be_retried": True,
    }  # fmt: skip


def make(world):
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

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
            "needed": bool(world.key), "name": "on-call" if inside else None,
            "role": world.role if inside else None, "until_ms": None,
            "product": "sparkplug-zerobus", "version": "0.1.0",
        }  # fmt: skip

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

    @app.get("/api/overview")
    def whole():
        at = now_ms() // 1000 * 1000
        rows = [sample(world, at - s * 1000) for s in range(900, 0, -1)]
        if world.mode == "empty":
            rows = []
        columns = {k: [row[k] for row in rows] for k in sample(world, at)}
        return answer(overview(world) | {"samples": {"step_seconds": 1} | columns})

    @app.get("/api/stream")
    async def stream():
        if not world.streaming:
            return problem(429, "too_many", "as many listen as may; close a page that is not needed")

        async def events():
            while world.streaming:
                if not world.silent:
                    body = overview(world) | {"sample": sample(world, now_ms())}
                    yield f"event: now\ndata: {json.dumps(body)}\n\n"
                await asyncio.sleep(1)

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/api/nodes")
    def nodes(search: str = "", state: str = "", sort: str = "", limit: int = 50, offset: int = 0):
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
        return answer(_node(number, world))

    @app.get("/api/tree")
    def tree(server: str = "", group: str = "", node: str = "", device: str = "", limit: int = 50, offset: int = 0):
        if world.mode == "empty":
            return page_of([], limit, offset)
        return page_of(_level(server, group, node, device), limit, offset)

    @app.get("/api/tags")
    def tags(search: str = "", server: str = "", group: str = "", node: str = "", device: str = "", sort: str = "", limit: int = 50, offset: int = 0):
        scope = {"server": server, "group": group, "node": node, "device": device}
        found = [] if world.mode == "empty" else PLANT.find(search, scope)
        if sort.startswith("-"):
            found = found[::-1]
        items = [PLANT.tag(i) for i in found[offset : offset + limit]]
        return answer({"total": len(found), "offset": offset, "limit": limit, "version": 1, "items": items})

    @app.get("/api/tag")
    def one_tag(server: str, group: str, node: str, name: str, device: str = ""):
        for i in PLANT.find("", {"server": server, "group": group, "node": node}):
            if PLANT.names[i][1:3] == (device or None, name):
                return answer(_tag(i))
        return problem(404, "not_found", "this tag is not known")

    @app.get("/api/gaps")
    def gaps(limit: int = 50, offset: int = 0):
        found = [] if world.mode == "empty" else [_gap(n) for n in range(240)]
        account = {"expected": 100_000, "received": 99_640, "missing": 360 if found else 0,
                   "percent": 99.6, "gaps": {"found": len(found), "open": 3}, "nodes": NODES}  # fmt: skip
        return page_of(found, limit, offset, account=account)

    @app.get("/api/letters")
    def letters(limit: int = 50, offset: int = 0):
        kept = [] if world.mode == "empty" else world.letters
        reasons = [{"reason": "poison", "kind": "row", "letters": len(kept), "rows": 28,
                    "first_ms": now_ms() - 9e6, "last_ms": now_ms() - 6e4, "text": "rows that the service refuses",
                    "mend": "compare the table with what `sparkplug-zerobus ddl` prints, then retry"}]  # fmt: skip
        return page_of([letter(name) for name in kept], limit, offset, reasons=reasons if kept else [])

    @app.get("/api/letter")
    def one_letter(name: str):
        if name not in world.letters:
            return problem(404, "not_found", "there is no such letter")
        payload = "".join(HOSTILE[:5]).encode()
        return answer({"letter": letter(name), "topic": f"spBv1.0/Hostile/NDATA/{HOSTILE[2]}", "server": "plant-a",
                       "received_ms": now_ms() - 60_000, "payload_hex": payload.hex(), "payload": {"metrics": HOSTILE},
                       "rows": [{"event_id": "0" * 32, "tag_path": HOSTILE[0], "numeric_value": 1.5}],
                       "rows_shown": 1, "mend": "compare the table with what `sparkplug-zerobus ddl` prints"})  # fmt: skip

    @app.get("/api/config")
    def config():
        found = {"servers": [{"name": "plant-a", "url": "mqtts://broker:8883", "password": "***", "filters": ["spBv1.0/#"]}],
                 "zerobus": {"endpoint": "https://1.zerobus.example", "client_secret": "***", "table": HOSTILE[0]},
                 "http": {"listen": "127.0.0.1:8099", "keys": []}, "shutdown_timeout": "20s"}  # fmt: skip
        return answer({"configuration": found, "warnings": [HOSTILE[4]], "changed": ["servers[0].url", "zerobus.table"]})

    @app.post("/api/actions/{action:path}")
    async def act(action: str, request: Request):
        body = await request.json()
        world.acts.append((action, body))
        if action == "rebirth":
            number = PLANT.nodes.index((body["server"], body["group"], body["node"]))
            threading.Timer(1.5, lambda: world.born.update({number: now_ms()})).start()
            return answer({"asked": True, "text": f"{body['node']} is asked for its births within a second"}, 202)
        if action.startswith("letters"):
            gone = [name for name in world.letters if body.get("all") or name in body["names"]]
            world.letters = [name for name in world.letters if name not in gone]
            return answer({"letters": len(gone)})
        return answer({"pauses": []})

    app.include_router(page_router())
    return Guard(app, SimpleNamespace(refused={}))


def _node(number, world):
    at = now_ms()
    life = [
        ("node_birth", None, None, "bdSeq 7", "ok", 9000),
        ("device_birth", "Press 1", None, "", "ok", 8990),
        ("gap", None, "seq", "3 messages are missing from seq 12 on", "warning", 4000),
        ("rebirth_request", None, "seq", "asked for its births", "unknown", 3999),
        ("node_birth", None, None, "bdSeq 7", "ok", 3990),
        ("device_death", HOSTILE[0], None, HOSTILE[2], "wrong", 60),
    ]
    return {
        "node": node(number, world.born.get(number)),
        "bd_seq": 7, "next_seq": 12, "ignition": True, "seen_in_part": False, "may_ask": True,
        "devices": [{"device": d, "alive": a, "tags": 50, "born_ms": at - 9e6, "rows_per_second": 3.0}
                    for d, a in [("Press 1", True), ("Press 2", False), (HOSTILE[1], True)]],
        "account": {"expected": 1000, "received": 997, "missing": 3, "percent": 99.7, "gaps": {"found": 2, "open": 0}},
        "life": [{"time_ms": at - s * 1000, "kind": k, "device": d, "reason": r, "text": t, "level": level}
                 for k, d, r, t, level, s in reversed(life)],
        "unmended": None if number % 2 else {"problem": "sends metrics that none of its births declares, such as x",
                                             "mend": "declare them in its births"},
    }  # fmt: skip


def _level(server, group, node_name, device):
    if node_name:
        found = PLANT.find("", {"server": server, "group": group, "node": node_name, "device": device})
        own = [i for i in found if device or PLANT.names[i][1] is None]
        devices = [] if device else sorted({PLANT.names[i][1] for i in found} - {None})
        return [_entry("device", d, server, group, node_name, d, 50) for d in devices] + [
            _entry("tag", PLANT.names[i][2], server, group, node_name, device or None, 1) for i in own
        ]
    if group:
        mine = [names for names in PLANT.nodes if names[1] == group and names[0] == server]
        return [_entry("node", n[2], n[0], group, n[2], None, 200) for n in mine]
    groups = sorted({names[:2] for names in PLANT.nodes})
    return [_entry("group", g, s, g, None, None, 10_000) for s, g in groups]


def _entry(kind, label, server, group, node_name, device, tags):
    return {"kind": kind, "label": label, "server": server, "group": group, "node": node_name, "device": device,
            "folder": "", "name": label if kind == "tag" else None, "tags": tags, "level": "ok",
            "has_children": kind != "tag"}  # fmt: skip


def _tag(i):
    tag = PLANT.tag(i)
    at = now_ms()
    times = [at - s * 1000 for s in range(120, 0, -1)]
    values = [tag["value"] if isinstance(tag["value"], str) else round(math.sin(t / 9000) * 40 + 60, 2) for t in times]
    names = [("engUnit", "rpm"), ("documentation", HOSTILE[1]), (HOSTILE[2], HOSTILE[5])]
    return {
        "tag": tag, "alias": 17, "event_id": "0123456789abcdef" * 2, "source_system_id": "Plant/Edge-1",
        "birth": {"message_type": "DBIRTH", "received_ms": STARTED, "seq": 1, "is_transient": False,
                  "properties": [{"name": n, "type": "String", "value": v} for n, v in names]},
        "values": {"time_ms": times, "received_ms": times, "value": values, "quality": ["GOOD"] * 120,
                   "historical": [False] * 120, "message_type": ["DDATA"] * 120},
    }  # fmt: skip


def _gap(n):
    server, group, name = PLANT.nodes[n]
    at = now_ms() - n * 300_000
    return {"server": server, "group": group, "node": name, "reason": "seq", "found_ms": at, "first_seq": 12, "missing": 3,
            "late": n % 2, "from_ms": at - 1000, "to_ms": at, "sessions_missed": 0,
            "healing": "rebirth_snapshot" if n > 2 else "", "healed_ms": at + 900 if n > 2 else None, "history_rows": 0,
            "level": "ok" if n > 2 else "warning"}  # fmt: skip


class FakeServer(threading.Thread):
    """The server on a free port of 127.0.0.1; `stop` and `start_again` at the same port."""

    def __init__(self, world, port=0):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(make(world), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
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
