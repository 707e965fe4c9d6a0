"""What the server that is not there answers: pictures of its plant as docs/http.md has them."""

from __future__ import annotations

import math

from page.plant import HOSTILE, STARTED, Plant, node, now_ms

PLANT = Plant()
GRANT = (
    "grant USE CATALOG, USE SCHEMA and, on the table itself, SELECT and MODIFY to the service "
    "principal; `sparkplug-zerobus ddl` prints the statements"
)
MAY_NOT = "the service principal may not write to the table"


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
        (
            "servers",
            "MQTT servers",
            newest["messages_per_second"],
            "messages/s",
            "2 of 2 connected",
        ),
        ("decode", "Decode", newest["rows_per_second"], "rows/s", "500 edge nodes, 100,000 tags"),
        ("spool", "Spool", newest["rows_waiting"], "rows waiting", "3 % of 4 GiB used"),
        (
            "zerobus",
            "Zerobus",
            newest["acknowledged_per_second"],
            "rows/s acknowledged",
            "stream opened",
        ),
    ]
    cards = [
        {
            "card": c,
            "level": "ok",
            "title": t,
            "number": n,
            "unit": u,
            "text": x,
            "cause": "",
            "mend": "",
        }
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
        attention.append(
            item("warning", "letters", "7 dead letters", HOSTILE[1], "javascript:alert(1)")
        )
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
        "level": level,
        "kind": kind,
        "text": text,
        "mend": mend,
        "since_ms": now_ms() - 900_000,
        "count": 1,
        "link": link,
    }


def letter(name):
    row = int(name.partition("-")[2])
    return {
        "name": name,
        "kind": "row",
        "set_aside_ms": now_ms() - row * 60_000,
        "where": "catalog.schema.tag_events",
        "reason": "poison",
        "error": HOSTILE[row % len(HOSTILE)],
        "rows": row,
        "bytes": row * 170,
        "to_be_retried": False,
        "may_be_retried": True,
    }


def one_node(number, world):
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
        "bd_seq": 7,
        "next_seq": 12,
        "ignition": True,
        "seen_in_part": False,
        "may_ask": True,
        "devices": [
            {"device": d, "alive": a, "tags": 50, "born_ms": at - 9e6, "rows_per_second": 3.0}
            for d, a in [("Press 1", True), ("Press 2", False), (HOSTILE[1], True)]
        ],
        "account": {
            "expected": 1000,
            "received": 997,
            "missing": 3,
            "percent": 99.7,
            "gaps": {"found": 2, "open": 0},
        },
        "life": [
            {
                "time_ms": at - s * 1000,
                "kind": k,
                "device": d,
                "reason": r,
                "text": t,
                "level": level,
            }
            for k, d, r, t, level, s in reversed(life)
        ],
        "unmended": None
        if number % 2
        else {
            "problem": "sends metrics that none of its births declares, such as x",
            "mend": "declare them in its births",
        },
    }


def level(server, group, node_name, device):
    if node_name:
        found = PLANT.find(
            "", {"server": server, "group": group, "node": node_name, "device": device}
        )
        own = [i for i in found if device or PLANT.names[i][1] is None]
        devices = [] if device else sorted({PLANT.names[i][1] for i in found} - {None})
        here = (server, group, node_name)
        return [entry("device", d, (*here, d), 50) for d in devices] + [
            entry("tag", PLANT.names[i][2], (*here, device or None), 1) for i in own
        ]
    if group:
        mine = [names for names in PLANT.nodes if names[1] == group and names[0] == server]
        return [entry("node", n[2], (*n, None), 200) for n in mine]
    groups = sorted({names[:2] for names in PLANT.nodes})
    return [entry("group", g, (s, g, None, None), 10_000) for s, g in groups]


def entry(kind, label, at, tags):
    return {
        "kind": kind,
        "label": label,
        **dict(zip(("server", "group", "node", "device"), at, strict=True)),
        "folder": "",
        "name": label if kind == "tag" else None,
        "tags": tags,
        "level": "ok",
        "has_children": kind != "tag",
    }


def one_tag(i, world):
    tag = PLANT.tag(i)
    at = now_ms()
    times = [at - s * 1000 for s in range(120, 0, -1)]
    values = [
        tag["value"] if isinstance(tag["value"], str) else round(math.sin(t / 9000) * 40 + 60, 2)
        for t in times
    ]
    if world.late:  # the oldest half comes at the end
        times, values = times[60:] + times[:60], list(range(60, 120)) + list(range(60))
    names = [("engUnit", "rpm"), ("documentation", HOSTILE[1]), (HOSTILE[2], HOSTILE[5])]
    return {
        "tag": tag,
        "alias": 17,
        "event_id": "0123456789abcdef" * 2,
        "source_system_id": "Plant/Edge-1",
        "birth": {
            "message_type": "DBIRTH",
            "received_ms": STARTED,
            "seq": 1,
            "is_transient": False,
            "properties": [{"name": n, "type": "String", "value": v} for n, v in names],
        },
        "values": {
            "time_ms": times,
            "received_ms": times,
            "value": values,
            "quality": ["GOOD"] * 120,
            "historical": [False] * 120,
            "message_type": ["DDATA"] * 120,
        },
    }


def gap(n):
    server, group, name = PLANT.nodes[n]
    at = now_ms() - n * 300_000
    return {
        "server": server,
        "group": group,
        "node": name,
        "reason": "seq",
        "found_ms": at,
        "first_seq": 12,
        "missing": 3,
        "late": n % 2,
        "from_ms": at - 1000,
        "to_ms": at,
        "sessions_missed": 0,
        "healing": "rebirth_snapshot" if n > 2 else "open",
        "healed_ms": at + 900 if n > 2 else None,
        "history_rows": 0,
        "level": "ok" if n > 2 else "warning",
    }
