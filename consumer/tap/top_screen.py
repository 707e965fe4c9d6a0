"""What `top` shows of a picture: lines that fit a terminal, or a page without an end.

Names and texts come from whoever may publish or answer: they are escaped before they are
measured, and become `Text`, never markup.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.text import Text

from consumer.foreign import escaped
from consumer.tap.top import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.tap.top import Picture

_STYLES: Final = {
    "ok": "green",
    "warning": "yellow",
    "wrong": "bold red",
    "unknown": "bright_black",
}
_WORDS: Final = {"ok": "ok", "warning": "warn", "wrong": "FAIL", "unknown": "note"}
"""Levels as `check` calls them."""
_OLD: Final = "bright_black"
_FAINT: Final = "bright_black"
_HEAD: Final = "bold"
_BETWEEN: Final = 2
_LEAST_NAME: Final = 36
"""Cells of a name that are worth more than another column."""
_LEAST_NODES: Final = 3
"""Lines of nodes before anything else has a place, their heading not counted."""


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: of the column.
        rank: columns of the highest rank are left out first where there is no room; 0 never.
        text: what a row says there.
        is_number: numbers are never cut, and stand at the right.
        by_level: has the colour of the row's level.
    """

    title: str
    rank: int
    text: Callable[[Mapping[str, Any]], str]
    is_number: bool = True
    by_level: bool = False


def screen(
    picture: Picture, width: int, height: int | None, *, old: str = "", hint: str = ""
) -> list[Text]:
    """The lines of a picture.

    Args:
        picture: what was seen last.
        width: of the terminal, in cells; no line is wider.
        height: most lines; None for all that there is to say.
        old: why the picture is old, which makes all of it grey; empty if it is not.
        hint: what may be done, at the end of the last line.
    """
    lines = [_title(picture), *_state(picture, old)]
    servers = _servers(picture, width)
    cards, attention = _cards(picture), _attention(picture)
    if height is not None:
        room = height - len(lines) - _LEAST_NODES - 2
        attention = _first(attention, min(room - 1, 4))
        servers = _first(servers, min(room - len(attention), max(2, height // 4)))
        room -= len(attention) + len(servers)
        cards = cards if room >= len(cards) + 2 else []
    for block in (cards, attention, servers):
        lines += [Text(), *block] if block and (height is None or height > 20) else block
    lines += [Text()] if height is None or height > 20 else []
    rows = None if height is None else max(0, height - len(lines) - 2)
    lines += _nodes(picture, width, rows)
    lines.append(_foot(picture, rows, hint))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    if height is not None and len(lines) > height:
        lines = lines[: height - 1] + lines[-1:]
    return [Text(line.plain, _OLD) for line in lines] if old else lines


def _title(picture: Picture) -> Text:
    seen = picture.overview
    up = _ago(seen["now_ms"] - seen["started_ms"])
    at = time.strftime("%H:%M:%S", time.gmtime(seen["now_ms"] / 1000))
    host = escaped(f"{seen['host_id']} ({seen['host_mode']})")
    name = Text(f"{seen['product']} {seen['version']}", _HEAD)
    return Text.assemble(name, f"  host {host}, up for {up}, {at} UTC")


def _state(picture: Picture, old: str) -> list[Text]:
    if old:
        return [Text(escaped(old))]
    state = picture.overview["state"]
    return [Text.assemble(_word(state["level"]), " ", (escaped(state["text"]), _HEAD))]


def _word(level: str) -> tuple[str, str]:
    return f"{_WORDS[level]:<4}", _STYLES[level]


def _cards(picture: Picture) -> list[Text]:
    lines = []
    for card in picture.overview["cards"]:
        number = "-" if card["number"] is None else f"{card['number']:,.0f}"
        line = Text.assemble(
            _word(card["level"]),
            f" {escaped(card['title']):<13}{number:>13} {escaped(card['unit']):<21}",
            escaped(card["text"]),
        )
        if card["card"] == "zerobus" and picture.latency is not None:
            p50, p99 = picture.latency
            line.append(f"; rows acknowledged within {p50:.2g} s (p50), {p99:.2g} s (p99)")
        lines.append(line)
    return lines


def _attention(picture: Picture) -> list[Text]:
    lines = []
    for item in picture.overview["attention"]:
        since = ""
        if item["since_ms"] is not None:
            since = f" (for {_ago(picture.overview['now_ms'] - item['since_ms'])})"
        line = Text.assemble(_word(item["level"]), f" {escaped(item['text'])}{since}")
        if item["mend"]:
            line.append(f" -> {escaped(item['mend'])}")
        lines.append(line)
    return lines


def _first(lines: list[Text], most: int) -> list[Text]:
    """The first lines, the last of which says how many there are beyond."""
    if len(lines) <= max(0, most):
        return lines
    if most < 1:
        return []
    return [*lines[: most - 1], Text(f"     and {len(lines) - most + 1} more", _FAINT)]


# ---------------------------------------------------------------------- tables


def _servers(picture: Picture, width: int) -> list[Text]:
    columns = [
        Column("server", 0, lambda it: it["name"], is_number=False),
        Column(
            "state",
            0,
            lambda it: "connected" if it["connected"] else "not connected",
            is_number=False,
            by_level=True,
        ),
        Column("messages/s", 1, lambda it: _rate(it["messages_per_second"])),
        Column("rows/s", 2, lambda it: _rate(it["rows_per_second"])),
        Column("nodes", 3, lambda it: f"{it['edge_nodes']:,}"),
        Column("alive", 4, lambda it: f"{it['edge_nodes_alive']:,}"),
        Column("silent", 4, lambda it: f"{it['edge_nodes_silent']:,}"),
        Column("tags", 5, lambda it: f"{it['tags']:,}"),
        Column("waiting", 6, lambda it: f"{it['waiting_messages']:,}"),
        Column("discarded", 6, lambda it: f"{it['broker_dropped_messages']:,}"),
    ]
    lines = _table(columns, picture.servers, width)
    for line, server in zip(lines[1:], picture.servers, strict=True):
        if not server["connected"] and server["last_error"]:
            line.append(f"  {escaped(server['last_error'])}", "red")
    return lines


def _nodes(picture: Picture, width: int, rows: int | None) -> list[Text]:
    now_ms = picture.overview["now_ms"]

    def ago(at_ms: int | None) -> str:
        return "" if at_ms is None else _ago(now_ms - at_ms)

    columns = [
        Column("edge node", 0, name_of, is_number=False),
        Column("server", 5, lambda it: it["server"], is_number=False),
        Column(
            "state", 0, lambda it: it["state"].replace("_", " "), is_number=False, by_level=True
        ),
        Column("for", 4, lambda it: ago(it["since_ms"])),
        Column("rows/s", 1, lambda it: _rate(it["rows_per_second"])),
        Column("seq errors", 2, lambda it: f"{it['seq_errors']:,}"),
        Column("gaps open", 2, lambda it: f"{it['gaps_open']:,}"),
        Column("missing", 3, lambda it: f"{it['missing']:,}"),
        Column("heard", 3, lambda it: ago(it["last_heard_ms"])),
        Column("clock", 6, lambda it: _clock(it["clock_offset_seconds"])),
        Column("tags", 6, lambda it: f"{it['tags']:,}"),
        Column("devices", 7, lambda it: f"{it['devices_alive']:,}/{it['devices']:,}"),
        Column("born", 7, lambda it: ago(it["last_birth_ms"])),
        Column("asked", 8, lambda it: f"{it['rebirths_asked']:,}"),
    ]
    if len(picture.servers) < 2:
        columns = [each for each in columns if each.title != "server"]
    return _table(columns, picture.nodes[:rows], width)


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int) -> list[Text]:
    """A heading and a line for each row, none wider than there is room."""
    texts = [[Text(escaped(each.text(row))) for row in rows] for each in columns]
    titles = [Text(each.title) for each in columns]
    widths = [
        max(part.cell_len for part in (title, *cells))
        for title, cells in zip(titles, texts, strict=True)
    ]
    shown = _fitting(columns, widths, width)
    taken = sum(widths[each] + _BETWEEN for each in shown[1:])
    widths[0] = max(1, min(widths[0], max(_LEAST_NAME, width - taken)))
    lines = [_line(columns, shown, widths, titles, _HEAD)]
    for index, row in enumerate(rows):
        cells = [column[index] for column in texts]
        for column, cell in zip(columns, cells, strict=True):
            if column.by_level:
                cell.stylize(_STYLES[row["level"]])
        lines.append(_line(columns, shown, widths, cells, ""))
    return lines


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Which columns there is room for, the first of them as narrow as it may be."""
    shown = list(range(len(columns)))
    while len(shown) > 1:
        least = min(widths[0], _LEAST_NAME) + sum(widths[each] + _BETWEEN for each in shown[1:])
        last = max(shown, key=lambda each: (columns[each].rank, each))
        if least <= width or columns[last].rank == 0:
            break
        shown.remove(last)
    return shown


def _line(
    columns: Sequence[Column],
    shown: Sequence[int],
    widths: Sequence[int],
    cells: Sequence[Text],
    style: str,
) -> Text:
    line = Text(style=style)
    for index in shown:
        cell = cells[index].copy()
        cell.truncate(widths[index], overflow="ellipsis")
        cell.align("right" if columns[index].is_number else "left", widths[index])
        line.append(" " * _BETWEEN if index else "")
        line.append_text(cell)
    line.rstrip()
    return line


def _foot(picture: Picture, rows: int | None, hint: str) -> Text:
    shown = picture.nodes[:rows]
    hidden = picture.total - len(shown)
    line = Text(f"{len(shown):,} of {picture.total:,} edge nodes", _FAINT)
    if hidden > 0:
        left = dict(picture.states)
        for node in shown:
            left[node["state"]] -= 1
        kinds = ", ".join(
            f"{count:,} {state.replace('_', ' ')}"
            for state, count in reversed(left.items())
            if count > 0
        )
        line.append(f"; not shown: {hidden:,} ({kinds})")
    if hint:
        line.append(f"; {hint}")
    return line


# ---------------------------------------------------------------------- numbers


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"


def _clock(seconds: float | None) -> str:
    """How far a clock is off; behind is positive, as in the API."""
    if seconds is None:
        return ""
    if abs(seconds) < 1:
        return "0 s"
    return f"{_ago(abs(seconds) * 1000)} {'behind' if seconds > 0 else 'ahead'}"


def _ago(milliseconds: float) -> str:
    """A time span in its largest unit."""
    seconds = max(0, int(milliseconds // 1000))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
