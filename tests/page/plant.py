"""A plant that is not there: 500 edge nodes, 100,000 tags, hostile names."""

from __future__ import annotations

import math
import time

HOSTILE = [
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "right\u202eto-left\u202c and \u2067isolates\u2069",
    "tab\tand\nnewline\x1b[31m\x00\x7f",
    "\"quotes' & &amp; `ticks` ${html} %s {{x}}",
    "x" * 4096,
    "long words " * 372,
    "日本語 ñandú 🏭 עברית العربية",
    "javascript:document.title='pwned'",
    "?a=b&c=d#/overview",
]

SERVERS = ("plant-a", "plant-b")
NODES = 500
TAGS_PER_NODE = 200
KINDS = [
    ("Motor/Speed", "Double", "rpm"),
    ("Motor/Current", "Float", "A"),
    ("Oil/Temperature", "Float", "°C"),
    ("Oil/Pressure", "Double", "bar"),
    ("Running", "Boolean", None),
    ("Recipe", "String", None),
    ("Strokes", "Int64", None),
    ("Level", "Float", "%"),
]
LEVELS = {"GOOD": "ok", "UNCERTAIN": "warning", "STALE": "warning", "BAD": "wrong"}
CODES = {"GOOD": 192, "UNCERTAIN": 64, "STALE": 500, "BAD": 0}
STATES = {
    "duplicate": "wrong",
    "dead": "wrong",
    "silent": "warning",
    "in_doubt": "warning",
    "never_born": "unknown",
    "alive": "ok",
}
STARTED = int(time.time() * 1000) - 5 * 3600 * 1000


def now_ms():
    return int(time.time() * 1000)


def names_of_node(number):
    """Server, group and node: the first ones are hostile."""
    if number < len(HOSTILE):
        return SERVERS[0], "Hostile", HOSTILE[number]
    return SERVERS[number % 2], f"Plant {number // 50 + 1}", f"Edge-{number:03}"


def node(number, born=None):
    server, group, name = names_of_node(number)
    state = "alive"
    if number % 83 == 40:
        state = list(STATES)[number // 83 % 5]
    at = now_ms()
    text = {
        "alive": "alive",
        "dead": "dead since 12:04:11 UTC: its death was heard",
        "silent": "silent since 12:04:11 UTC: it says nothing for longer than it ever did",
        "duplicate": "two publishers use its id",
        "in_doubt": "what its aliases stand for is not known until its next birth",
        "never_born": "heard, but no birth yet",
    }[state]
    return {
        "server": server,
        "group": group,
        "node": name,
        "state": state,
        "level": STATES[state],
        "state_text": text,
        "since_ms": None if state == "alive" else at - 3_600_000,
        "devices": 4,
        "devices_alive": 4 if state == "alive" else 3,
        "tags": TAGS_PER_NODE,
        "rows_per_second": 0.0 if state == "dead" else 12.5 + number % 7,
        "births": 1 + number % 3,
        "deaths": number % 3,
        "last_birth_ms": born or STARTED + number * 1000,
        "last_death_ms": None,
        "last_heard_ms": at - 400,
        "seq_errors": number % 5,
        "gaps_open": 1 if number % 91 == 12 else 0,
        "gaps_healed": number % 4,
        "missing": number % 4,
        "clock_offset_seconds": 0.012 if number % 60 else -75.5,
        "rebirths_asked": number % 2,
    }


class Plant:
    """All tags as flat lists: what is searched is lowered once."""

    def __init__(self):
        self.nodes = [names_of_node(number) for number in range(NODES)]
        self.names = []
        for number in range(NODES):
            for index in range(TAGS_PER_NODE):
                base, datatype, unit = KINDS[index % len(KINDS)]
                device = None if index < 8 else f"Press {index // 50 + 1}"
                name = f"Line {index // 8 + 1}/{base}"
                if number < len(HOSTILE) and index < len(HOSTILE):
                    name = HOSTILE[index]
                self.names.append((number, device, name, datatype, unit))
        self.searched = [
            " ".join([*self.nodes[n][1:], device or "", name, datatype, unit or ""]).lower()
            for n, device, name, datatype, unit in self.names
        ]

    def find(self, search, scope):
        """Numbers of the tags in which all words are found, and of which all of scope holds."""
        words = search.lower().split()
        found = range(len(self.names))
        if words:
            found = [i for i in found if all(word in self.searched[i] for word in words)]
        for key, wanted in scope.items():
            if wanted:
                found = [i for i in found if self._part(i, key) == wanted]
        return found

    def _part(self, i, key):
        number, device, _, _, _ = self.names[i]
        server, group, name = self.nodes[number]
        return {"server": server, "group": group, "node": name, "device": device}[key]

    def tag(self, i):
        number, device, name, datatype, unit = self.names[i]
        server, group, node_name = self.nodes[number]
        at = now_ms()
        quality = "GOOD" if i % 97 else ["BAD", "STALE", "UNCERTAIN"][i // 97 % 3]
        value = round(math.sin(at / 7000 + i) * 500 + 1000, 3)
        if datatype == "Boolean":
            value = at // 5000 % 2 == 0
        elif datatype == "String":
            value = (
                HOSTILE[i % len(HOSTILE)] if number < len(HOSTILE) else f"Recipe {at // 9000 % 40}"
            )
        elif datatype == "Int64":
            value = str(2**53 + i) if i % 3 == 0 else at // 1000
        cut = isinstance(value, str) and len(value) > 200
        path = "/".join(filter(None, ["[MQTT Engine]Edge Nodes", group, node_name, device, name]))
        return {
            "server": server,
            "group": group,
            "node": node_name,
            "device": device,
            "name": name,
            "path": path,
            "datatype": datatype,
            "unit": unit,
            "value": value[:200] if cut else value,
            "cut": cut,
            "quality": quality,
            "quality_code": CODES[quality],
            "level": LEVELS[quality],
            "time_ms": at - 300,
            "received_ms": at - 200,
            "rows": 12345 + i,
            "rows_per_second": 1.0,
            "alive": True,
        }
