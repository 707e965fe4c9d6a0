"""Edge nodes that publish what real and broken ones publish, driven by random.Random.

A fleet keeps the sessions of its edge nodes (seq, aliases, births), so that most
messages are in order, and breaks the rules where a feature says so.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oracle import forms, json_form, samples, wire
from oracle.arrivals import Arrival
from oracle.features import ALL_FEATURES
from sparkplug.pb.sparkplug_b_columns_pb2 import Metric, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


@dataclass
class Tag:
    name: str
    datatype: int
    alias: int | None


@dataclass
class Twin:
    """What a device said that another one may say as well."""

    device: str
    verb: str
    payload: bytes
    table: list[Tag]
    seq: int


@dataclass
class Session:
    """One edge node on one server, as it sees itself.

    `seqs` has one counter for all; of a node whose devices count for themselves, one for each.
    """

    seqs: dict[str | None, int] = field(default_factory=dict)
    bd_seq: int = 0
    keeps_bd_seq: bool = False
    behind_ms: int = 0  # what its clock is behind
    has_clock: bool = True  # otherwise it begins at the same time at every start
    has_twins: bool = False
    twin: Twin | None = None  # what a device has said
    will: int | None = None  # bdSeq of a will that the server has still to publish
    next_alias: int = 0
    alive: bool = False
    tables: dict[str | None, list[Tag]] = field(default_factory=dict)

    def counter(self, verb: str, device: str | None) -> str | None:
        """Whose seq a message has."""
        return device if self.has_twins and verb.startswith("D") else None


class Fleet:
    """Groups, nodes and devices; every call of `message` is one arrival."""

    def __init__(self, seed: int, features: Iterable[str] = ALL_FEATURES) -> None:
        rng = random.Random(seed)
        self.features = frozenset(features)
        assert self.features <= ALL_FEATURES
        self.nodes = [
            (group, node)
            for group in samples.GROUPS[: rng.randint(1, 3)]
            for node in rng.sample(samples.NODES, rng.randint(1, 2))
        ]
        self.devices = samples.DEVICES[: rng.randint(0, 3)]
        self.sessions: dict[tuple[str, str, str], Session] = {}
        self.now_ms = self.clock_ms = START_MS
        self.rng = rng

    def message(self, seed: int) -> Arrival:
        """The next arrival; everything random in it comes from `seed`."""
        self.rng = random.Random(seed)
        self.now_ms += self.rng.randint(0, 1500)
        second = self.has("two_servers", 0.3)
        server = "second" if second else "local"
        group, node = self.rng.choice(self.nodes)
        session = self.session(server, group, node)
        device = self.rng.choice((None, *self.devices))
        twin = self.twin_of(session, device, seed)
        if twin is None:
            topic, payload = self.published(session, group, node, device)
        else:
            topic, payload = f"spBv1.0/{group}/{twin.verb}/{node}/{device}", twin.payload
        if self.has("bad_topic", 0.02):
            topic = self.bad_topic(topic)
        elif self.has("unknown_verb", 0.02):
            topic = topic.replace("DATA", "RECORD", 1)
        payload = self.damaged(payload)
        return Arrival(
            topic,
            payload,
            received_at_us=self.now_ms * 1000 + self.rng.randint(0, 999_999),
            retained=self.has("retained", 0.02),
            server=server,
        )

    def has(self, feature: str, probability: float) -> bool:
        # The number is drawn in any case: a feature left out changes nothing else.
        return self.rng.random() < probability and feature in self.features

    def session(self, server: str, group: str, node: str) -> Session:
        """What is so of a node from its beginning."""
        key = (server, group, node)
        if key not in self.sessions:
            rng = random.Random(repr(key))
            keeps = rng.random() < 0.6 and "same_bd_seq" in self.features
            twins = rng.random() < 0.6 and "twin_devices" in self.features
            wrong = rng.random() < 0.6 and "wrong_clock" in self.features
            session = Session(keeps_bd_seq=keeps, has_twins=twins)
            session.behind_ms = HOUR_MS if keeps else 0
            if wrong:
                session.behind_ms = rng.choice((0, -HOUR_MS, -HOUR_MS, -60 * HOUR_MS))
                session.has_clock = session.behind_ms != 0
            self.sessions[key] = session
        return self.sessions[key]

    def twin_of(self, session: Session, device: str | None, seed: int) -> Twin | None:
        """What another device has said, if this one says the very same; it counts as that does."""
        twin = session.twin
        if device is None or twin is None or twin.device == device or not session.alive:
            return None
        if random.Random(f"twin {seed}").random() < 0.5:
            return None
        session.twin = None
        session.tables[device] = list(twin.table)
        session.seqs[device] = (twin.seq + 1) % 256
        return twin

    # What a node says next

    def published(
        self, session: Session, group: str, node: str, device: str | None
    ) -> tuple[str, bytes]:
        if self.has("state", 0.03):
            host = self.rng.choice(("scada", "sparkplug-zerobus"))
            return f"spBv1.0/STATE/{host}", b'{"online":true,"timestamp":1700000000000}'
        if self.has("command", 0.03):
            verb, tail = ("NCMD", "") if device is None else ("DCMD", f"/{device}")
            body = self.rng.choice((b"", b"\xff", self.sealed(Payload(timestamp=self.now_ms), [])))
            return f"spBv1.0/{group}/{verb}/{node}{tail}", body
        if self.has("edge_restart", 0.03):
            self.restart(session)
        verb = self.verb(session, device)
        tail = f"/{device}" if verb.startswith("D") else ""
        counter = session.counter(verb, device)
        seq = session.seqs.get(counter, 0)
        payload = self.payload(session, verb, device)
        if session.has_twins and device is not None and verb in {"DBIRTH", "DDATA"}:
            table = session.tables.get(device, [])
            session.twin = Twin(device, verb, payload, table, seq)
        return f"spBv1.0/{group}/{verb}/{node}{tail}", payload

    def restart(self, session: Session) -> None:
        """The node begins anew; some forget to say so, of some the will comes later."""
        session.seqs.clear()
        if not session.has_clock:
            session.behind_ms = self.now_ms - START_MS
        if self.rng.random() < 0.8:
            session.alive = False
            session.tables.clear()
            if self.rng.random() < 0.5:
                session.will = session.bd_seq
            session.bd_seq += not session.keeps_bd_seq

    def verb(self, session: Session, device: str | None) -> str:
        if session.will is not None and self.rng.random() < 0.3:
            return "NDEATH"
        early = self.has("no_birth", 0.08)
        again = self.has("changed_birth", 0.04)
        if (not session.alive and not early) or again:
            return "NBIRTH"
        if self.has("death", 0.03):
            return "NDEATH"
        if device is None:
            return "NDATA"
        if (device not in session.tables and not early) or self.has("changed_birth", 0.06):
            return "DBIRTH"
        return "DDEATH" if self.has("death", 0.05) else "DDATA"

    def payload(self, session: Session, verb: str, device: str | None) -> bytes:
        message = Payload()
        self.clock_ms = self.now_ms - session.behind_ms
        if not self.has("missing_timestamp", 0.1):
            odd = self.has("odd_timestamp", 0.1)
            message.timestamp = self.rng.choice(samples.ODD_TIMESTAMPS) if odd else self.clock_ms
        if verb == "NDEATH":
            return self.node_death(session, message)
        self.number(session, verb, device, message)
        if verb == "NBIRTH":
            session.alive = True
            session.tables.clear()
            session.next_alias = 0
        if verb in {"NBIRTH", "DBIRTH"}:
            metrics = self.birth(session, device if verb[0] == "D" else None)
            if self.has("nameless_birth", 0.03):
                metrics = [{**fields, "name": ""} for fields in metrics]
            return self.sealed(message, metrics)
        if verb == "DDEATH":
            session.tables.pop(device, None)
            return self.sealed(message, [])
        return self.sealed(message, self.data(session, device))

    def number(self, session: Session, verb: str, device: str | None, message: Payload) -> None:
        counter = session.counter(verb, device)
        seq = session.seqs.get(counter, 0)
        if verb == "NBIRTH":
            seq = self.rng.choice((0, 0, 250, 255, self.rng.randrange(256)))
        elif self.has("seq_gap", 0.05):
            seq = (seq + self.rng.choice((-1, 1, 2, 127, 128))) % 256
        if not self.has("seq_absent", 0.03):
            far = self.has("seq_out_of_range", 0.02)
            odd = (256, 300, 2**31 - 1, 2**31, 2**32 + 5, 2**64 - 1)
            message.seq = self.rng.choice(odd) if far else seq
        session.seqs[counter] = (seq + 1) % 256

    def node_death(self, session: Session, message: Payload) -> bytes:
        if session.will is not None:
            will, session.will = session.will, None
            return self.sealed(message, [{"name": "bdSeq", "long_value": will}])
        form = self.rng.randrange(5)
        fields: dict[str, Any] = {"name": "bdSeq", "int_value": session.bd_seq}
        if form == 0:
            fields = {"name": "bdSeq", "long_value": session.bd_seq + 1}
        elif form == 1:
            fields = {"name": "bdSeq", "long_value": session.bd_seq}
        elif form == 2:
            return self.sealed(message, [])
        if form:
            session.alive = False
            session.tables.clear()
            session.bd_seq += self.rng.choice((0, 1)) * (not session.keeps_bd_seq)
        return self.sealed(message, [fields])

    # Metrics

    def birth(self, session: Session, device: str | None) -> list[dict[str, Any]]:
        rng = self.rng
        table = session.tables[device] = []
        pool = samples.NAMES[: rng.choice((4, len(samples.NAMES)))]
        names = rng.sample(pool, rng.choice((0, 1, 2, 3, 4, 4, 8, 8)) % (len(pool) + 1))
        if names and self.has("duplicate_name", 0.1):
            names.append(rng.choice(names))
        if self.has("empty_name", 0.1):
            names.append("")
        style = rng.choice(("dense", "dense", "dense", "sparse", "none", "some"))
        if self.has("shared_alias", 0.3):
            session.next_alias = 0
        metrics: list[dict[str, Any]] = []
        if device is None:
            bd_seq = {"name": "bdSeq", "datatype": 4, "long_value": session.bd_seq}
            metrics.append({**bd_seq, "timestamp": self.clock_ms})
        for name in names:
            if name == "bdSeq" and device is None:
                continue
            tag = Tag(name, self.datatype(), self.alias(session, style, table))
            table.append(tag)
            fields = self.value(tag.datatype)
            fields["name"] = name
            if not self.has("unknown_datatype", 0.03):
                fields["datatype"] = tag.datatype
            if tag.alias is not None:
                fields["alias"] = tag.alias
            if self.has("nameless", 0.05):
                del fields["name"]
            metrics.append(fields)
        rng.shuffle(metrics)
        return metrics

    def datatype(self) -> int:
        if self.has("unknown_datatype", 0.05):
            return self.rng.choice((0, 35, 255, 2**32 - 1))
        if self.has("not_scalar", 0.1):
            return self.rng.choice(samples.NOT_SCALAR)
        return self.rng.choice(samples.SCALARS)

    def alias(self, session: Session, style: str, table: list[Tag]) -> int | None:
        if style == "none" or (style == "some" and self.rng.random() < 0.5):
            return None
        if table and self.has("duplicate_alias", 0.05):
            return self.rng.choice(table).alias
        if style == "sparse":
            # Unique on the node by its low bits, with 2^64-1 among the possible.
            high = self.rng.choice((2**63, 2**64 - 2**16, 2**40, 2**16))
            session.next_alias += 1
            return high + (2**16 - session.next_alias)
        session.next_alias += 1
        return session.next_alias - 1

    def data(self, session: Session, device: str | None) -> list[dict[str, Any]]:
        rng = self.rng
        table = session.tables.get(device, [])
        borrowed = self.has("borrowed_alias", 0.1)
        if borrowed:
            table = [tag for tags in session.tables.values() for tag in tags]
        count = rng.choice((0, 1, 1, 2, 3, 5, 12))
        chosen = rng.sample(table, min(count, len(table)))
        if chosen and self.has("repeated_metric", 0.2):
            chosen += rng.choices(chosen, k=3)
        if borrowed:
            chosen = [tag for tag in chosen if tag.alias is not None]
        if not session.alive:
            chosen = [Tag("Temperature", 10, 0)]
        return [self.reading(tag, rng.choice(table) if table else tag) for tag in chosen]

    def reading(self, tag: Tag, other: Tag) -> dict[str, Any]:
        rng = self.rng
        fields = self.value(tag.datatype)
        by = rng.choice(("alias", "alias", "alias", "name", "both"))
        if by == "name" or tag.alias is None:
            fields["name"] = tag.name
        elif by == "alias":
            fields["alias"] = tag.alias
        else:
            fields.update(name=tag.name, alias=tag.alias)
        if self.has("disagreeing_alias", 0.05) and other.alias is not None:
            fields.update(name=tag.name, alias=other.alias)
        if self.has("unknown_alias", 0.05):
            fields.pop("name", None)
            fields["alias"] = rng.choice((999, 2**63 - 1, 2**64 - 1))
        if self.has("unknown_metric", 0.05):
            fields["name"] = rng.choice(
                ("No such metric", "TEMPERATURE", "Temperatur", "bdSeq", "Node Control/Rebirth")
            )
        if self.has("nameless", 0.03):
            fields.pop("name", None)
            fields.pop("alias", None)
        if self.has("datatype_in_data", 0.2):
            fields["datatype"] = rng.choice((tag.datatype, 8, 17, 99))
        return fields

    def value(self, datatype: int) -> dict[str, Any]:
        """Value, flags, properties and time of one metric."""
        rng = self.rng
        fields: dict[str, Any] = {}
        if self.has("misfit", 0.06):
            fields = samples.misfit(datatype, rng)
        elif not self.has("value_missing", 0.03):
            fields = samples.fitting(datatype, rng, odd="odd_values" in self.features)
        if self.has("null", 0.06):
            if rng.random() < 0.7:
                fields = {}
            fields["is_null"] = True
        if self.has("several_members", 0.04):
            fields.update(samples.any_member(rng))
            fields.update(samples.any_member(rng))
        if self.has("historical", 0.1):
            fields["is_historical"] = rng.random() < 0.9
        if self.has("transient", 0.05):
            fields["is_transient"] = rng.random() < 0.9
        if not self.has("missing_timestamp", 0.1):
            past = self.clock_ms - rng.choice((0, 0, 1, 250, 86_400_000))
            odd = self.has("odd_timestamp", 0.05)
            fields["timestamp"] = rng.choice(samples.ODD_TIMESTAMPS) if odd else past
        properties = self.properties()
        if properties is not None:
            fields["properties"] = properties
        return fields

    def properties(self) -> bytes | None:
        if self.has("malformed_properties", 0.03):
            return self.rng.choice(samples.BROKEN_BYTES)
        quality = None
        odd = self.has("odd_quality", 0.1)
        if odd:
            quality = self.rng.choice(samples.ODD_QUALITIES)
        elif self.has("quality", 0.1):
            quality = self.rng.choice(samples.LIVE_QUALITIES)
        others = self.has("other_properties", 0.1)
        if quality is None and not others:
            return None
        return samples.property_set(self.rng, quality=quality, others=others, odd=odd)

    # Bytes and topics

    def sealed(self, message: Payload, metrics: list[dict[str, Any]]) -> bytes:
        if self.has("json_form", 0.05):
            text = json_form.written(message, metrics, self.rng)
            if text is not None:
                return text
        if self.has("odd_wire", 0.1):
            encoded = [wire.odd_metric(fields, self.rng) for fields in metrics]
            head = message.SerializeToString()
            pieces = [head, *map(wire.embedded, encoded)]
            if self.rng.random() < 0.5:
                pieces = [*pieces[1:], head]
            return b"".join(pieces)
        for fields in metrics:
            message.metrics.append(Metric(**fields))
        return message.SerializeToString()

    def damaged(self, payload: bytes) -> bytes:
        rng = self.rng
        if self.has("bad_payload", 0.02):
            cut = rng.randrange(len(payload)) if payload else 0
            return rng.choice((b"\xff\xff", rng.randbytes(20), payload[:cut], payload + b"\x12"))
        if self.has("not_utf8", 0.02):
            broken = rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"))
            name = rng.choice(("name", "string_value"))
            return payload + wire.embedded(wire.field(*wire.METRIC[name], broken))
        if self.has("torn_envelope", 0.02):
            payload = forms.torn(payload, rng)
        elif self.has("compressed", 0.08):
            payload = forms.enveloped(payload, rng)
        # A byte changed in JSON gives JSON of any kind, which the oracle cannot follow.
        is_json = payload.lstrip()[:1] == b"{"
        if payload and self.has("mutated_payload", 0.03) and not is_json:
            mutated = bytearray(payload)
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
            return bytes(mutated)
        if self.has("json_payload", 0.02):
            return rng.choice((b'{"timestamp":1,"metrics":5,"seq":0}', b"{", b"{" + payload))
        return b"" if self.has("empty_payload", 0.01) else payload

    def bad_topic(self, topic: str) -> str:
        return self.rng.choice(
            (
                topic.removeprefix("spBv1.0/"),
                topic.replace("spBv1.0", "spAv1.0"),
                topic.replace("spBv1.0", "spBv1/0"),
                topic + "/extra/level",
                topic.replace("/N", "//N", 1),
                topic + "/",
                "spBv1.0",
                "spBv1.0/STATE/",
                "STATE/scada",
                "",
            )
        )
