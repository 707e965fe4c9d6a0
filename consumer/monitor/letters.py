"""Dead letters and gaps for the API: pages of them, and one letter with its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.errors import FailureKind
from consumer.monitor.shown import Level, Page, milliseconds
from consumer.sinks import mend
from consumer.spool import dead_letters_of
from sparkplug import Healing, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from consumer.spool import DeadLetter, GapReport, LetterReason

_MOST_PAYLOAD: Final = 64 * 1024
_ROW: Final = "row"

_OF_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "poison": ("rows that the service refuses", ""),
    "too_large": (
        "rows that are longer than a call to Zerobus may be",
        "publish such values as files of their own, or in smaller parts",
    ),
    "damaged": (
        "rows that were damaged on the disk",
        "see the disk of the spool; their bytes cannot be read again",
    ),
}
"""What the rows of a reason are, and what helps; where that is empty, delivery has words for it."""
_ASK: Final = "ask the edge node for its births, then retry"
_ENVELOPE: Final = "let the edge node publish without compression, or in smaller messages"
OF_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    Reason.BAD_PAYLOAD: (
        "messages that are no Sparkplug payload",
        "see what publishes on that topic, and in which format",
    ),
    Reason.JSON_PAYLOAD: (
        "messages in JSON that describes no Sparkplug payload",
        "see what publishes on that topic; docs/decoding.md says which JSON is read",
    ),
    Reason.TOO_LARGE: (
        "messages of more bytes or metrics than are read",
        "let the edge node publish smaller messages; docs/decoding.md says how large they may be",
    ),
    Reason.BAD_ENVELOPE: ("compressed messages that cannot be opened", _ENVELOPE),
    Reason.ENVELOPE_TOO_LARGE: ("compressed messages with too much in them", _ENVELOPE),
    Reason.NAMELESS_BIRTH: (
        "births whose metrics have no names",
        "see the edge node's software: a birth gives the name of each metric",
    ),
    Reason.TOO_MANY_NODES: (
        "births of more edge nodes than are kept",
        "raise limits.max_nodes if there are so many, else see who makes up ids",
    ),
    Reason.TOO_MANY_TAGS: (
        "births with more tags than are kept",
        "raise limits.max_tags if there are so many, else see who makes up names",
    ),
    Reason.DATA_BEFORE_BIRTH: ("data of an edge node whose birth did not come", _ASK),
    Reason.DEVICE_DATA_BEFORE_BIRTH: (
        "data of a device whose birth did not come",
        "let the edge node publish the DBIRTHs of its devices, then retry",
    ),
    Reason.UNKNOWN_ALIAS: (
        "metrics with an alias that no birth gives",
        "let the edge node give each alias in a birth, then retry",
    ),
    Reason.UNKNOWN_METRIC: (
        "metrics that no birth declares",
        "declare them in a birth, then retry",
    ),
    Reason.ALIAS_OF_UNSEEN_BIRTH: (
        "metrics with an alias of a birth that did not come",
        "ask the edge node for its births: their present values come with them",
    ),
    Reason.SESSION_ENDED: (
        "data of a session that ended before its birth came",
        "retry if the present birth declares the same metrics, else drop them",
    ),
    Reason.HOLD_FULL: (
        "data that waited for a birth, and had to make room for others",
        _ASK + "; if it happens again, see why births come so late",
    ),
    Reason.LATE_BIRTH: ("births behind a hole in seq that nothing filled", _ASK),
}
"""What the messages of a reason are, and what helps."""


def letter_page(path: Path, *, reason: str, kind: str, page: Page) -> dict[str, Any]:
    """A page of the dead letters, newest first, and how many there are of each reason.

    Raises:
        SpoolError: the spool cannot be read.
    """
    with dead_letters_of(path) as letters:
        total, found = letters.page(
            reason=reason or None, kind=kind or None, limit=page.limit, offset=page.offset
        )
        reasons = [
            {**_reason(each), "mend": _mend(each.kind, each.reason, _first_error(letters, each))}
            for each in letters.reasons()
        ]
    return page.answer(total, [_row(each) for each in found], reasons=reasons)


def letter(path: Path, name: str) -> dict[str, Any]:
    """One letter with its content.

    Raises:
        SpoolError: there is none of that name, or the spool cannot be read.
    """
    with dead_letters_of(path) as letters:
        found, content = letters.get(name), letters.show(name)
    is_row = name.startswith(_ROW)
    payload = content.get("payload")
    received_us = content.get("received_us")
    rows = content["content"] if is_row else []
    return {
        "letter": _row(found),
        "topic": content.get("topic"),
        "server": content.get("server"),
        "received_ms": milliseconds(received_us),
        "payload_hex": None if payload is None else payload[: 2 * _MOST_PAYLOAD],
        "payload": content.get("message") if is_row else content["content"],
        "rows": rows,
        "rows_shown": len(rows),
        "mend": _mend(found.name.partition("-")[0], found.reason, found.error),
    }


def _reason(each: LetterReason) -> dict[str, Any]:
    return {
        "reason": each.reason,
        "kind": each.kind,
        "letters": each.letters,
        "rows": each.rows,
        "first_ms": int(each.first_at * 1000),
        "last_ms": int(each.last_at * 1000),
        "text": _text_and_mend(each.kind, each.reason)[0],
    }


def _row(each: DeadLetter) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.name.partition("-")[0],
        "set_aside_ms": int(each.at * 1000),
        "where": each.where,
        "reason": each.reason,
        "error": each.error,
        "rows": each.rows,
        "bytes": each.size,
        "to_be_retried": bool(each.retry),
        "may_be_retried": each.may_be_retried,
    }


def _first_error(letters: Any, each: LetterReason) -> str:
    if each.kind != _ROW:
        return ""
    _, found = letters.page(reason=each.reason, kind=_ROW, limit=1, offset=0)
    return found[0].error if found else ""


def _text_and_mend(kind: str, reason: str) -> tuple[str, str]:
    known = _OF_ROWS if kind == _ROW else OF_MESSAGES
    return known.get(reason, (reason.replace("_", " "), ""))


def _mend(kind: str, reason: str, error: str) -> str:
    """What helps, in the words that delivery uses where a failure of it was the reason."""
    _, known = _text_and_mend(kind, reason)
    if known or kind != _ROW:
        return known
    try:
        return mend(FailureKind(reason), error)
    except ValueError:
        return ""


def gap_page(report: GapReport, page: Page) -> dict[str, Any]:
    """The page of single gaps that a report lists, newest first, and its account."""
    total = report.total.as_dictionary()
    del total["last_message"], total["unheard_since"]
    rows = [
        {
            "server": each.server,
            "group": each.group_id,
            "node": each.edge_node_id,
            "reason": each.reason,
            "found_ms": milliseconds(each.found_us),
            "first_seq": each.first_seq,
            "missing": each.missing,
            "late": each.late,
            "from_ms": milliseconds(each.from_us),
            "to_ms": milliseconds(each.to_us),
            "sessions_missed": each.sessions_missed,
            "healing": each.healing,
            "healed_ms": milliseconds(each.healed_us),
            "history_rows": each.history_rows,
            "level": Level.WARNING
            if each.healing in (Healing.OPEN, Healing.NOT_AT_ALL)
            else Level.OK,
        }
        for each in report.listed
    ]
    account = {**total, "nodes": len(report.nodes)}
    return page.answer(report.records, rows, account=account)
