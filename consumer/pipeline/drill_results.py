"""What a drill showed, in words and as it is kept."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolError
from consumer.spool import DrillResult, unproven_nodes
from sparkplug import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.spool import Spool
    from sparkplug import NodeAfter

_LOG = logging.getLogger(__name__)

MOST_NAMED: Final = 10
"""Edge nodes that a line of the log names."""

WORST_FIRST: Final = (Verdict.LOST, Verdict.PARTLY, Verdict.NOT_KNOWN, Verdict.KEPT)

_WENT_ON: Final = "it went on publishing: its primary host is another one, or none"

_IN_WORDS: Final = {
    Verdict.KEPT: "keep their data",
    Verdict.PARTLY: "keep a part of it",
    Verdict.LOST: "lose it",
    Verdict.NOT_KNOWN: "not known",
}


def result_of(
    server: str, node: NodeAfter, at_ms: int, known: DrillResult | None = None
) -> DrillResult:
    """The result of one edge node.

    Args:
        server: name of its MQTT server.
        node: what came of it.
        at_ms: when the drill was asked for, milliseconds since 1970 UTC.
        known: its result of an earlier drill.
    """
    before, verdict = node.before, node.verdict
    return DrillResult(
        server,
        before.group_id,
        before.edge_node_id,
        at_ms,
        str(verdict),
        why(node),
        node.rows,
        None if node.first_us is None else node.first_us // 1_000,
        None if node.last_us is None else node.last_us // 1_000,
        round(node.window_us / 1e6, 3) if node.window_us else None,
        at_ms if verdict is Verdict.KEPT else _kept_before(known),
    )


def _kept_before(known: DrillResult | None) -> int | None:
    """When a node kept its data last, unless a later drill said otherwise.

    Results are replaced one by one: what a drill held against a node must outlast the next one in
    which the node was not heard.
    """
    if known is None or known.verdict in (Verdict.LOST, Verdict.PARTLY):
        return None
    return known.kept_ms


def why(node: NodeAfter) -> str:
    """Why the verdict of a node is what it is, and what to do about it: a line for people."""
    if node.verdict is Verdict.KEPT:
        if node.is_judged:
            return f"{node.rows:,} values of history cover the {_seconds(node.window_us)}"
        return f"{node.rows:,} values of history; it publishes too seldom to say more"
    if node.verdict is Verdict.PARTLY:
        return _why_partly(node)
    if node.verdict is Verdict.LOST and node.went_on:
        return f"no history, for {_WENT_ON}"
    if node.verdict is Verdict.LOST:
        return "no history: enable its history store, name it in the transmitter, save that again"
    return _why_not_known(node)


def _why_partly(node: NodeAfter) -> str:
    if node.went_on:
        return f"some history, though {_WENT_ON}"
    if node.covers:
        tags = "1 tag" if node.tags_lost == 1 else f"{node.tags_lost:,} tags"
        return f"no history of {tags} that published before: see which tags its history store holds"
    usual = _seconds(node.before.pause_us)
    return (
        f"history lacks {_seconds(node.hole_us)} of the {_seconds(node.window_us)}, and it usually "
        f"publishes at least every {usual}: see the capacity of its history store, and which tags "
        "it holds"
    )


def _why_not_known(node: NodeAfter) -> str:
    before = node.before
    if not before.was_alive:
        return "it was not alive when the host went offline"
    if not before.moments:
        return "it published nothing while the host listened before"
    if node.to_us is None:
        return "it was not heard again in time: wait longer"
    return (
        f"it was silent for {_seconds(before.pause_us)} before, too long for "
        f"{_seconds(node.window_us)}: let the drill last longer"
    )


def counts(verdicts: Iterable[str]) -> dict[str, int]:
    """How many edge nodes have each verdict, worst first."""
    found = Counter(verdicts)
    return {str(verdict): found[verdict] for verdict in WORST_FIRST}


def worst_first(results: Iterable[DrillResult]) -> list[DrillResult]:
    """Results in the order in which people want to read them."""
    rank = {str(verdict): number for number, verdict in enumerate(WORST_FIRST)}
    return sorted(results, key=lambda each: (rank.get(each.verdict, -1), *each[:3]))


def in_words(results: list[DrillResult]) -> str:
    """A summary with the names of those that do not keep their data."""
    parts = [
        f"{count} {_IN_WORDS[Verdict(verdict)]}"
        for verdict, count in counts(each.verdict for each in results).items()
        if count
    ]
    bad = [each for each in worst_first(results) if each.verdict in (Verdict.LOST, Verdict.PARTLY)]
    text = f"of {len(results)} edge nodes " + (", ".join(parts) or "none was known")
    return f"{text}: {named([f'{each[1]}/{each[2]}' for each in bad])}" if bad else text


def warn_of_unproven(spool: Spool, servers: Sequence[str], now_ms: int) -> None:
    """Log which edge nodes nobody has seen keep their data, where that is relied on."""
    try:
        with spool.snapshot() as db:
            found = unproven_nodes(db, servers, now_ms)
    except SpoolError as error:
        _LOG.warning("results of drills cannot be read: %s", error)
        return
    if found.nodes:
        _LOG.warning(
            "host.gate_on_sink: of %d edge nodes %d are not known to keep their data while the "
            "gate is closed: %s. `sparkplug-zerobus drill` shows which do",
            found.known,
            len(found.nodes),
            named([f"{group}/{node}" for _, group, node in found.nodes]),
        )


def named(names: list[str]) -> str:
    """Some names of many."""
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} others"


def _seconds(us: int) -> str:
    return f"{us / 1e6:.1f} s"
