"""Tags for the API: lists that are searched, sorted and paged, single tags, and their tree."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from consumer.errors import SpoolError
from consumer.monitor.birth_facts import KnownUnits, birth_facts
from consumer.monitor.folders import Folder
from consumer.monitor.rates import Rates
from consumer.monitor.shown import (
    LEVELS_OF_QUALITY,
    LIST_CHARACTERS,
    Level,
    Page,
    milliseconds,
    shown_value,
)
from consumer.monitor.tag_view import DATATYPES, Of, TagView
from consumer.pipeline import LONGEST_TEXT
from consumer.rows import event_id_of, identities_of
from consumer.rows import place as place_of
from sparkplug import QUALITY_NAMES, ValueKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from consumer.monitor.tag_view import Units
    from consumer.pipeline import Consumer, Source, Value
    from consumer.spool import OwnerPlace

_LOOKED_AT_SECONDS: Final = 60.0
_MOST_OFTEN: Final = 20
"""Between two views so many times what a view takes must pass."""
_ATTEMPTS: Final = 5
_UNITS_EVERY: Final = 5.0

TAG_SORTS: Final = ("path", "name", "datatype", "unit", "quality", "age", "rate", "rows")
"""What a list of tags may be sorted by; with `-` before it the other way round."""


class TagQuery(NamedTuple):
    """What is asked of the list of tags.

    Args:
        search: words that must all be found.
        of: where the tags are.
        quality: name of a quality class, empty for all.
        sort: one of TAG_SORTS, perhaps with `-` before it.
    """

    search: str = ""
    of: Of = Of()
    quality: str = ""
    sort: str = "path"


class TagBook:
    """Answers what is asked of tags. Thread-safe.

    Args:
        consumer: whose tags.
        clock: monotonic seconds.
    """

    def __init__(self, consumer: Consumer, clock: Callable[[], float]) -> None:
        self._consumer = consumer
        self._clock = clock
        self._making = threading.Lock()
        self._view: TagView | None = None
        self._key: object = None
        self._made_at = self._took = 0.0
        self.rates = Rates(consumer.sources, clock)
        self._units = KnownUnits(consumer.spool.path)
        self._units_wanted_until = self._units_at = 0.0
        self._version = 0
        self._seen_key: object = None

    # ------------------------------------------------------------------ once a second

    def look(self) -> None:
        """Take in what is only known by looking again and again; nothing if nobody wants it."""
        self.rates.look()
        now = self._clock()
        if now < self._units_wanted_until and now - self._units_at >= _UNITS_EVERY:
            try:
                more = self._units.look()
            except SpoolError:
                more = False
            self._units_at = 0.0 if more else now

    @property
    def version(self) -> int:
        """A number that changes when tags came or went."""
        key = self._catalogues()
        if key != self._seen_key:
            self._seen_key = key
            self._version += 1
        return self._version

    def _catalogues(self) -> object:
        fleets = [source.fleet for source in self._consumer.sources]
        return tuple(
            (each.catalogue.generation, len(each.catalogue), each.gauges.live_tags)
            for each in fleets
        )

    # ------------------------------------------------------------------ views

    def view(self) -> TagView:
        """All tags as they are, or were a moment ago if making a view takes long."""
        with self._making:
            key = self._catalogues()
            now = self._clock()
            if self._view is not None and self._view.is_current:
                resting = now - self._made_at < _MOST_OFTEN * self._took
                if key == self._key or resting:
                    return self._view
            self._view = None  # two of them at a time would take twice the memory
            self._view = TagView(self._consumer.sources, self.version)
            self._key, self._made_at = key, self._clock()
            self._took = self._made_at - now
            return self._view

    def _units_of(self, view: TagView) -> Units:
        self._units_wanted_until = self._clock() + _LOOKED_AT_SECONDS
        return self._units.of(view)

    # ------------------------------------------------------------------ lists

    def listed(self, query: TagQuery, page: Page) -> dict[str, Any]:
        """Tags that a query finds: one page of them."""
        for attempt in range(_ATTEMPTS):
            view = self.view()
            found = self._found(view, query)
            rows = self.rows(view, page.of(found.tolist()))
            if view.is_current or attempt == _ATTEMPTS - 1:
                break
        return page.answer(len(found), rows, version=view.version)

    def _found(self, view: TagView, query: TagQuery) -> NDArray[np.int32]:
        """The positions that a query finds, in its order."""
        units = self._units_of(view)
        wanted = view.where(query.of)
        if query.search:
            wanted &= view.search(query.search, units)
        if query.quality:
            qualities = self._column(view, lambda source, size: source.last_values.quality(size))
            wanted &= qualities == QUALITY_NAMES.index(query.quality)
        order = view.by_path
        found: NDArray[np.int32] = order[wanted[order]]
        by, backwards = query.sort.removeprefix("-"), query.sort.startswith("-")
        if by == "path":
            return found[::-1] if backwards else found
        key = self._sort_key(view, units, by)[found]
        if backwards:
            key = -key  # NaN stays the last
        return found[np.argsort(key, kind="stable")]

    def _sort_key(self, view: TagView, units: Units, by: str) -> NDArray[np.float64]:
        ranks: dict[str, Callable[[], NDArray[Any]]] = {
            "name": lambda: view.name_rank,
            "datatype": lambda: view.datatype_rank,
            "unit": lambda: units.rank,
        }
        if by in ranks:
            ranked: NDArray[np.float64] = ranks[by]().astype(np.float64)
            return ranked
        if by == "rate":
            return self.rates.of(view)
        if by == "rows":
            return self._column(view, lambda source, size: source.last_values.counts(size))
        if by == "quality":
            quality = self._column(view, lambda source, size: source.last_values.quality(size))
            return np.where(quality < 0, np.nan, quality)
        event_us = self._column(view, lambda source, size: source.last_values.event_us(size))
        return np.where(event_us == 0, np.nan, -event_us)

    def _column(
        self, view: TagView, read: Callable[[Any, int], NDArray[Any]]
    ) -> NDArray[np.float64]:
        """A column over the tags of all servers, gathered for the positions of a view."""
        parts: list[NDArray[Any]] = [
            read(source, int(tags.max(initial=-1)) + 1)[tags]
            for source, tags in zip(view.sources, view.tags_of_sources, strict=True)
        ]
        return np.concatenate([np.empty(0), *parts])

    def rows(self, view: TagView, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Tags as the list shows them."""
        at = np.asarray(positions, dtype=np.int64)
        values: dict[int, tuple[Value | None, int]] = {}
        for index, source in enumerate(view.sources):
            mine = at[view.source[at] == index]
            if len(mine):
                read = source.last_values.read(view.tag[mine])
                values.update(zip(mine.tolist(), read, strict=True))
        units, rates = self._units_of(view), self.rates.of(view)
        return [
            _row(view, position, _Read(*values[position], units.get(position), rates[position]))
            for position in at.tolist()
        ]

    # ------------------------------------------------------------------ one tag

    def tag(self, place: OwnerPlace, name: str) -> dict[str, Any] | None:
        """One tag with its last values and what its birth says; None if it is not known."""
        for _ in range(_ATTEMPTS):
            view = self.view()
            found = view.find(place, name)
            if found is None:
                return None
            position = found
            source = view.sources[int(view.source[position])]
            tag = int(view.tag[position])
            [read] = source.last_values.read(np.array([tag], dtype=np.int32))
            history = source.last_values.history(tag)
            if view.is_current:
                break
        last = _Read(*read, self._units_of(view).get(position), self.rates.of(view)[position])
        facts = birth_facts(self._consumer.spool.path, place, name)
        return {
            "tag": _row(view, position, last, LONGEST_TEXT),
            "alias": None if facts is None else facts.alias,
            **_ids(source, place, name, read[0]),
            "birth": None if facts is None else facts.shown,
            "values": {
                "time_ms": [milliseconds(each.event_us) for each in history],
                "received_ms": [milliseconds(each.received_us) for each in history],
                "value": [shown_value(each)[0] for each in history],
                "quality": [each.quality for each in history],
                "historical": [each.historical for each in history],
                "message_type": [each.message_type for each in history],
            },
        }

    # ------------------------------------------------------------------ nodes and folders

    def rows_per_second(self) -> dict[OwnerPlace, float]:
        """Rows a second of each node and device, as far as that is known."""
        view = self.view()
        rates = np.nan_to_num(self.rates.of(view))
        sums = np.bincount(view.owner, weights=rates, minlength=len(view.places))
        return dict(zip(view.places, sums.tolist(), strict=True))

    def below(self, place: OwnerPlace, folder: str) -> list[dict[str, Any]]:
        """Folders and tags of a node or device below a folder, folders first."""
        view = self.view()
        server, group_id, edge_node_id, device_id = place
        wanted = view.where(Of(server, group_id, edge_node_id, device_id, folder))
        here = Folder(folder)
        folders: dict[str, int] = {}
        tags: list[tuple[str, str]] = []
        for position in view.by_path[wanted[view.by_path]].tolist():
            name = view.name(position)
            entry = here.below(name)
            if entry is None:
                continue
            label, is_folder = entry
            if is_folder:
                folders[label] = folders.get(label, 0) + 1
            else:
                tags.append((label, name))
        where = {
            "server": server,
            "group": group_id,
            "node": edge_node_id,
            "device": device_id or None,
        }
        found = [
            {
                "kind": "folder",
                "label": label,
                **where,
                "folder": here.path_of(label),
                "name": None,
                "tags": count,
                "level": Level.OK,
                "has_children": True,
            }
            for label, count in folders.items()
        ]
        return found + [
            {
                "kind": "tag",
                "label": label,
                **where,
                "folder": folder,
                "name": name,
                "tags": 1,
                "level": Level.OK,
                "has_children": False,
            }
            for label, name in tags
        ]


class _Read(NamedTuple):
    value: Value | None
    rows: int
    unit: str | None
    rate: float


def _row(
    view: TagView, position: int, read: _Read, characters: int = LIST_CHARACTERS
) -> dict[str, Any]:
    server, group_id, edge_node_id, device_id = view.place(position)
    value = read.value
    shown, is_cut = shown_value(value, characters)
    name = view.name(position)
    source = view.sources[int(view.source[position])]
    ids = (group_id, edge_node_id, device_id or None)
    return {
        "server": server,
        "group": group_id,
        "node": edge_node_id,
        "device": device_id or None,
        "name": name,
        "path": source.tags.path_of(*ids, name),
        "datatype": DATATYPES.get(int(view.codes[position]), "Unknown"),
        "unit": read.unit,
        "value": shown,
        "cut": is_cut,
        "quality": None if value is None else value.quality,
        "quality_code": None if value is None else value.quality_code,
        "level": Level.UNKNOWN if value is None else LEVELS_OF_QUALITY[value.quality],
        "time_ms": None if value is None else milliseconds(value.event_us),
        "received_ms": None if value is None else milliseconds(value.received_us),
        "rows": read.rows,
        "rows_per_second": None if np.isnan(read.rate) else round(float(read.rate), 3),
        "alive": source.fleet.alive(*ids),
    }


def _ids(source: Source, place: OwnerPlace, name: str, value: Value | None) -> dict[str, Any]:
    """The event_id of the last row of a tag, as far as it can be told, and its source_system_id."""
    _, group_id, edge_node_id, device = place
    ids = (group_id, edge_node_id, device or None)
    event_id = None
    if value is not None and not _is_forgotten(value):
        [identity] = identities_of([name], place_of(source.tags.names.site, *ids))
        event_id = event_id_of(
            identity, value.event_us, value.kind, value.value, value.quality_code
        )
    return {
        "event_id": event_id,
        "source_system_id": source.tags.source_system_id_of(*ids, name),
    }


def _is_forgotten(value: Value) -> bool:
    """Whether a text is not remembered, or was cut."""
    if value.kind != ValueKind.TEXT:
        return False
    return not isinstance(value.value, str) or len(value.value) >= LONGEST_TEXT
