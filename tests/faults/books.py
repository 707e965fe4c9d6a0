"""What the consumer itself says of losses: its ledger, and its account of gaps.

Both are compared with what happened, which the consumer does not know.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from end_to_end.consumer_process import TABLE
from support.program import run

from faults.verdict import SEQ_MODULUS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from faults.notebook import Key, Sent
    from faults.verdict import Verdict


def check_ledger(
    verdict: Verdict, ledger: Mapping[str, Any], *, landed: int | None, dead: int
) -> None:
    """Both balances add up, and the rows are those of the table.

    Args:
        verdict: gets the problems, and the balance of the rows as a note.
        ledger: of a consumer that has stopped, with nothing on its way.
        landed: rows in the table, copies counted once; None if the ledger is younger.
        dead: rows in the dead letters.
    """
    for kind in ("messages", "rows"):
        for name, balance in ledger[kind].items():
            verdict.require(
                balance["difference"] == 0, f"the ledger does not add up: {name} {balance}"
            )
    rows = ledger["rows"][TABLE]
    verdict.require(rows["spooled"] == 0, f"rows are said to wait: {rows}")
    verdict.require(rows["dead_lettered"] == dead, f"dead letters are {dead}, not {rows}")
    if landed is not None:
        verdict.require(
            rows["acknowledged"] == landed, f"{landed} rows landed, the ledger says {rows}"
        )
    text = " + ".join(
        f"{name.replace('_', '-')} {rows[name]}"
        for name in ("acknowledged", "spooled", "dead_lettered", "dropped", "suppressed")
    )
    verdict.notes.append(f"ledger: rows {rows['produced']} = {text}")


def gaps_report(config_file: Path) -> dict[str, Any]:
    """What `sparkplug-zerobus gaps` says of the last day."""
    done = run(
        *("gaps", "--config", str(config_file), "--since", "24h", "--json"), cwd=config_file.parent
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check_gaps(
    verdict: Verdict,
    report: Mapping[str, Any],
    nodes: Mapping[str, Sequence[Sent]],
    received: Collection[Key],
    *,
    all_landed: bool,
    lost_when_killed: int = 0,
) -> None:
    """Every edge node of which something is missing is said to have gaps, and not too much.

    Args:
        verdict: gets the problems.
        report: of `gaps_report`.
        nodes: the messages of each edge node in their order.
        received: the messages of which rows landed.
        all_landed: rows of all messages that were received did, so that what did not land
            was not received: then the numbers are exact, where they are known.
        lost_when_killed: messages that came and waited when a consumer was killed, as its ledger
            says. Their seq counts as received: so many may be in no gap, of all nodes together.
    """
    said = {f"{each['group_id']}/{each['edge_node_id']}": each for each in report["nodes"]}
    total = chance = short = 0
    for node, sent in nodes.items():
        # Nobody can miss what came before anything of a node was ever heard.
        first = next((i for i, each in enumerate(sent) if each.key in received), len(sent))
        lost = {i for i in range(first, len(sent)) if sent[i].key not in received}
        hidden = hidden_by_chance(sent, received)
        data = sum(sent[i].carries_data for i in lost - hidden) - uncounted(sent, received)
        chance += len(hidden)
        account = said.get(node)
        if account is None:
            known = f"gaps knows nothing of {node}"
            verdict.require(data <= lost_when_killed or not all_landed, known)
            short += max(0, data)
            continue
        found, missing = account["gaps"]["found"], account["missing"]
        total += missing
        known = f"{node}: {data} data messages did not arrive, gaps says {account}"
        verdict.require(missing <= len(lost), known)
        if not all_landed:
            continue
        verdict.require(found or data <= lost_when_killed, known)
        if not account["gaps"]["of_unknown_size"]:
            verdict.require(missing >= data - lost_when_killed, known)
            short += max(0, data - missing)
    verdict.require(
        not all_landed or short <= lost_when_killed,
        f"{short} data messages are in no gap, and {lost_when_killed} were lost while they waited",
    )
    verdict.notes.append(
        f"gaps: {report['total']['gaps']['found']}, messages missing: {total}"
        + (f", hidden by seq that seems to go on: {chance}" if chance else "")
        + (f", lost while they waited: {lost_when_killed}" if lost_when_killed else "")
    )


def hidden_by_chance(sent: Sequence[Sent], received: Collection[Key]) -> set[int]:
    """Which of a node's lost messages nobody can miss, by their place (docs/gaps.md, Modulo 256).

    They lie between two received messages whose seq follow each other: a multiple of 256,
    or the end of a session and the beginning of another one.
    """
    hidden: set[int] = set()
    before: int | None = None
    for place, each in enumerate(sent):
        if each.key not in received:
            continue
        if before is not None and each.seq == (sent[before].seq + 1) % SEQ_MODULUS:
            hidden.update(range(before + 1, place))
        before = place
    return hidden


def uncounted(sent: Sequence[Sent], received: Collection[Key]) -> int:
    """How many of a node's lost messages are beyond what seq can tell of the size of a hole.

    Those are a multiple of 256; or whatever is missing to it where a birth was lost in the hole
    that the host had asked for a second time: seq began anew then, and nobody can see it.
    """
    count = 0
    before: int | None = None
    for place, each in enumerate(sent):
        if each.key not in received:
            continue
        if before is not None and each.seq != (sent[before].seq + 1) % SEQ_MODULUS:
            told = (each.seq - sent[before].seq - 1) % SEQ_MODULUS
            count += max(0, place - before - 1 - told)
        before = place
    return count
