"""The account at the end of a fault test: published, landed, lost, known to be lost, doubled.

What is promised is checked on both sides independently: what was published against what
landed, by event_id; and what the consumer once numbered against what landed, by
arrival_number, which grows by one with every row and is committed with it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from faults.notebook import Key
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from faults.notebook import Sent

SEQ_MODULUS = 256
_KEY_COLUMNS = ["group_id", "edge_node_id", "device_id", "message_type", "seq"]
COLUMNS = (
    ("scenario", 22),
    ("seconds", 7),
    ("published", 9),
    ("landed", 8),
    ("lost", 6),
    ("known", 6),
    ("set aside", 9),
    ("doubled", 7),
)


@dataclass
class Verdict:
    """What became of everything that was published, in distinct observations.

    `known` of the `lost` are in a message that the consumer, or anybody who reads the table,
    knows to be missing. `set_aside` are dead letters and not lost. `doubled` are rows that
    landed once more with an equal event_id. `problems` are the promises that were not kept.
    """

    published: int = 0
    landed: int = 0
    lost: int = 0
    known: int = 0
    set_aside: int = 0
    doubled: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost_ids: dict[str, set[str]] = field(default_factory=dict)
    """Of each lost value the event_ids that its row may have, by its own."""
    scenario: str = ""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether everything was as promised."""
        return not self.problems

    def lost_no_more_than(self, rows: Collection[str]) -> bool:
        """Whether every lost value may be one of these rows, given by event_id."""
        return all(not ids.isdisjoint(rows) for ids in self.lost_ids.values())

    def lost_beyond(self, rows: Collection[str]) -> int:
        """How many of the lost values can be none of these rows, given by event_id."""
        return sum(ids.isdisjoint(rows) for ids in self.lost_ids.values())

    def require(self, condition: object, problem: str) -> None:
        """Note a promise that was not kept."""
        if not condition:
            self.problems.append(problem)

    def line(self) -> str:
        """The account as one line of a table; see `heading`."""
        values = (
            self.scenario,
            f"{self.seconds:.1f}",
            self.published,
            self.landed,
            self.lost,
            self.known,
            self.set_aside,
            self.doubled,
        )
        cells = [
            f"{value:<{width}}" if name == "scenario" else f"{value:>{width}}"
            for (name, width), value in zip(COLUMNS, values, strict=True)
        ]
        return "  ".join([*cells, "as promised" if self.kept else "BROKEN"])

    def __str__(self) -> str:
        indented = [f"    {each}" for each in (*self.problems, *self.notes)]
        return "\n".join([heading(), self.line(), *indented])


def heading() -> str:
    """Names of the columns of `Verdict.line`."""
    cells = [f"{n:<{width}}" if n == "scenario" else f"{n:>{width}}" for n, width in COLUMNS]
    return "  ".join([*cells, "verdict"])


def received_keys(table: pa.Table) -> set[Key]:
    """The messages of which rows landed."""
    keyed = table.select(_KEY_COLUMNS).append_column(
        "payload_ms", pc.divide(table["payload_timestamp"].cast(pa.int64()), 1000)
    )
    distinct = keyed.group_by(keyed.column_names).aggregate([])
    columns = (distinct[name].to_pylist() for name in keyed.column_names)
    return {Key(*values) for values in zip(*columns, strict=True)}


def examine(
    nodes: Mapping[str, Sequence[Sent]],
    table: pa.Table,
    dead_ids: Collection[str] = (),
    *,
    destroyed: Collection[str] = (),
    numbered: bool = True,
) -> Verdict:
    """Compare what was published with the landed table.

    Args:
        nodes: the messages of each edge node in their order.
        table: everything that landed, in any order.
        dead_ids: event_ids of the dead letters.
        destroyed: event_ids of rows that were destroyed on the disk, which the consumer said.
        numbered: an arrival_number is one row, as it is until a spool is thrown away.
    """
    verdict = Verdict()
    of_death = pc.is_in(table["message_type"], pa.array(["NDEATH", "DDEATH"]))
    landed_ids = set(table.filter(pc.invert(of_death))["event_id"].to_pylist())
    received = received_keys(table)
    good = landed_ids | set(dead_ids)
    acceptable: set[str] = set()
    own_ids: dict[str, bool] = {}
    may_have: defaultdict[str, set[str]] = defaultdict(set)
    known: dict[str, bool] = {}
    torn = 0
    for sent in nodes.values():
        missing_in = []
        for place, each in enumerate(sent):
            acceptable.update(*each.values)
            for ids in each.values:
                own_ids[ids[0]] = own_ids.get(ids[0], False) or any(i in good for i in ids)
                may_have[ids[0]].update(ids)
            missing = [ids for ids in each.values if not any(i in good for i in ids)]
            if missing:
                missing_in.append(place)
                were = (any(i in destroyed for i in ids) for ids in missing)
                torn += each.key in received and not all(were)
        shows = holes_that_show(sent, received)
        for place in missing_in:
            for ids in sent[place].values:
                is_known = place in shows or any(i in destroyed for i in ids)
                known[ids[0]] = known.get(ids[0], True) and is_known
    verdict.published = len(own_ids)
    verdict.lost_ids = {each: may_have[each] for each, there in own_ids.items() if not there}
    verdict.lost = len(verdict.lost_ids)
    verdict.set_aside = sum(each in dead_ids and each not in landed_ids for each in own_ids)
    verdict.landed = verdict.published - verdict.lost - verdict.set_aside
    verdict.known = sum(known[each] for each in verdict.lost_ids)
    verdict.doubled = table.num_rows - pc.count_distinct(table["event_id"]).as_py()
    verdict.require(not torn, f"{torn} messages arrived in part")
    strange = landed_ids - acceptable
    verdict.require(not strange, f"{len(strange)} rows landed that nobody published")
    if numbered:
        _check_copies(verdict, table)
    return verdict


def holes_that_show(sent: Sequence[Sent], received: Collection[Key]) -> set[int]:
    """Which of a node's messages are known to be missing if they are, by their place.

    That is what lies between two received messages whose seq do not follow each other, or
    before a birth that was asked for, or that begins another session.
    """
    shows: set[int] = set()
    before: int | None = None
    for place, each in enumerate(sent):
        if each.key not in received:
            continue
        between = range((before if before is not None else -1) + 1, place)
        births = any(
            sent[number].verb is MessageType.NBIRTH for number in (*between, place) if number
        )
        follows = before is not None and each.seq == (sent[before].seq + 1) % SEQ_MODULUS
        if births or not follows:
            shows.update(between)
        before = place
    return shows


def _check_copies(verdict: Verdict, table: pa.Table) -> None:
    """A row that landed again is the same in every column."""
    whole = table.group_by(table.column_names).aggregate([]).num_rows
    numbers = pc.count_distinct(table["arrival_number"]).as_py()
    verdict.require(
        whole == numbers, f"{whole - numbers} rows have the arrival_number of a different one"
    )


def check_numbers(
    verdict: Verdict, table: pa.Table, given: range, *, may_lack: int, dead: int
) -> None:
    """Every row that was ever numbered is there, but for so many.

    Args:
        verdict: gets the problem.
        table: what landed.
        given: the numbers that were given.
        may_lack: rows that the consumer counted as dropped.
        dead: rows in the dead letters.
    """
    there = set(table["arrival_number"].to_pylist())
    lacking = len(given) - len(there)
    verdict.require(
        not there or (min(there) in given and max(there) in given),
        "rows landed with numbers that were never given",
    )
    verdict.require(
        lacking <= may_lack + dead,
        f"{lacking} rows that had a number did not land; {may_lack} were counted as dropped, "
        f"{dead} are dead letters",
    )
