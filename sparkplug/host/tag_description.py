"""What births say of their tags beside the values, where it is news.

The catalogue keeps two digests of every tag: one of the encoded properties and metadata,
which shows at once that a birth repeats what is known, and one of what is read from
them, which does not change with the Quality among the properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkplug.metadata import TagMetadata
from sparkplug.payload import ABSENT, PropertyColumns, metadata_of, read_properties, text_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.structured_rows import Birth, Flattened

_FACTOR: Final = np.int64(0x9E3779B97F4A7C1)
_NOTHING: Final = 1
"""Digest instead of 0, which stands for a tag that was not described yet."""


@dataclass(slots=True)
class _Said:
    """What births say of some tags, one element per tag."""

    birth: NDArray[np.int64]  # index of the birth
    tag: NDArray[np.int32]
    properties: pa.BinaryArray
    metadata: pa.BinaryArray
    template: pa.StringArray
    told: pa.StringArray  # of the instances around the tag

    def take(self, rows: NDArray[np.int64]) -> _Said:
        selection = pa.array(rows)
        return _Said(
            self.birth[rows],
            self.tag[rows],
            self.properties.take(selection),
            self.metadata.take(selection),
            self.template.take(selection),
            self.told.take(selection),
        )


def describe(batch: Batch, flat: Flattened, catalogue: TagCatalogue) -> Iterator[TagMetadata]:
    """Metadata of the births of a batch, in their order, as far as it is news."""
    for births in _groups(batch.structured.births):
        yield from _describe(births, batch, flat, catalogue)


def _groups(births: Sequence[Birth]) -> Iterator[list[Birth]]:
    """Runs of births in which none is of the same node or device as another."""
    group: list[Birth] = []
    owners: set[int] = set()
    for birth in births:
        if id(birth.owner) in owners:
            yield group
            group, owners = [], set()
        group.append(birth)
        owners.add(id(birth.owner))
    if group:
        yield group


def _describe(
    births: list[Birth], batch: Batch, flat: Flattened, catalogue: TagCatalogue
) -> Iterator[TagMetadata]:
    said = _said(births, flat, catalogue)
    digest = _digests(said.properties, said.metadata, said.template, said.told)
    changed = np.flatnonzero(catalogue.states.description[said.tag, 0] != digest)
    said = said.take(changed)
    catalogue.states.description[said.tag, 0] = digest[changed]
    columns = _columns(said)
    digest = _digests(
        columns.properties, columns.documentation, said.template, pa.nulls(len(changed))
    )
    news = np.flatnonzero(catalogue.states.description[said.tag, 1] != digest)
    catalogue.states.description[said.tag[news], 1] = digest[news]
    tags, owner = said.tag[news], said.birth[news]
    selection = pa.array(news)
    columns, template = columns.take(selection), said.template.take(selection)
    ends = np.searchsorted(owner, np.arange(len(births) + 1)).tolist()
    for index, birth in enumerate(births):
        start, count = ends[index], ends[index + 1] - ends[index]
        retired = _retired(birth, catalogue)
        if count or len(retired):
            yield _metadata(
                tags[start : start + count],
                retired,
                _time_us(birth, batch),
                [
                    *(getattr(columns, name).slice(start, count) for name in _NAMES),
                    template.slice(start, count),
                ],
            )


_NAMES: Final = PropertyColumns.__slots__


def _said(births: list[Birth], flat: Flattened, catalogue: TagCatalogue) -> _Said:
    """What the births say of each tag that gives rows; the last word of each birth counts."""
    positions = [birth.position for birth in births]
    rows = flat.columns.rows_of(positions)
    sizes = [flat.columns.offsets[each + 1] - flat.columns.offsets[each] for each in positions]
    birth = np.repeat(np.arange(len(births)), sizes)
    tag = flat.tag[rows]
    selection = pa.array(rows)
    properties = flat.columns.metric("properties").take(selection)
    metadata = flat.columns.metadata(positions)
    has_leaves = [index for index, each in enumerate(births) if len(each.leaves)]
    templates: dict[int, tuple[str | None, str | None]] = {}
    for index in has_leaves:  # leaves without data, too
        leaves = births[index].leaves
        tag = np.concatenate([tag, births[index].tags])
        birth = np.concatenate([birth, np.full(len(leaves), index)])
        templates |= zip(
            births[index].tags.tolist(),
            zip(leaves.templates, leaves.told, strict=True),
            strict=True,
        )
    silent = len(tag) - len(rows)
    if silent:  # before the others, so that those have the last word
        order = np.roll(np.arange(len(tag)), silent)
        tag, birth = tag[order], birth[order]
        nothing = pa.nulls(silent, pa.binary())
        properties = pa.concat_arrays([nothing, properties])
        metadata = pa.concat_arrays([nothing, metadata])
    wanted = np.flatnonzero(catalogue.gives_rows(tag) & catalogue.is_read(tag))
    _, last = np.unique(tag[wanted][::-1], return_index=True)
    wanted = np.sort(wanted[len(wanted) - 1 - last])
    wanted = wanted[np.argsort(birth[wanted], kind="stable")]
    nothing = pa.nulls(len(wanted), pa.string())
    template = told = nothing
    if templates:
        of_tags = [templates.get(each, (None, None)) for each in tag[wanted].tolist()]
        template = pa.array([reference for reference, _ in of_tags], pa.string())
        told = pa.array([text for _, text in of_tags], pa.string())
    selection = pa.array(wanted)
    return _Said(
        birth[wanted],
        tag[wanted],
        properties.take(selection),
        metadata.take(selection),
        template,
        told,
    )


def _columns(said: _Said) -> PropertyColumns:
    """Properties and metadata of tags; each distinct set of properties is read once."""
    encoded = pc.dictionary_encode(said.properties)
    columns = read_properties(encoded.dictionary.to_pylist()).take(encoded.indices)
    documentation, properties = columns.documentation, columns.properties
    if said.metadata.null_count < len(said.metadata):
        described = pc.dictionary_encode(said.metadata)
        texts = [
            text_of(metadata_of(raw), "description") for raw in described.dictionary.to_pylist()
        ]
        written = pa.array(texts, pa.string()).take(described.indices)
        documentation = pc.coalesce(documentation, written)
    if said.told.null_count < len(said.told):
        properties = _with_instances(properties, said.told)
    return PropertyColumns(
        columns.unit,
        columns.low,
        columns.high,
        documentation,
        columns.tooltip,
        columns.read_only,
        properties,
    )


def _with_instances(properties: pa.StringArray, told: pa.StringArray) -> pa.StringArray:
    """JSON objects that begin with what is told of the instances around the tag.

    First, because of two members of one key readers in SQL take the first.
    """
    texts = []
    for own, given in zip(properties.to_pylist(), told.to_pylist(), strict=True):
        if given is None or own is None:
            texts.append(own if given is None else f"{{{given}}}")
        else:
            texts.append(f"{{{given},{own[1:]}")
    return pa.array(texts, pa.string())


def _digests(*columns: Any) -> NDArray[np.int64]:
    """64 bits for each row of some columns, never 0. Good within this process only."""
    digest: NDArray[np.int64] = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        digest *= _FACTOR
        if column.null_count == len(column):
            digest += np.int64(hash(None))
        else:
            values: Iterable[Hashable] = column.to_pylist()
            digest += np.fromiter(map(hash, values), np.int64, len(column))
    digest[digest == 0] = _NOTHING
    return digest


def _retired(birth: Birth, catalogue: TagCatalogue) -> NDArray[np.int32]:
    """Tags that were described, and are no longer declared."""
    gone: NDArray[np.int32] = np.setdiff1d(birth.before, birth.owner.declared, assume_unique=True)
    gone = gone[catalogue.states.description[gone, 0] != 0]
    catalogue.states.description[gone] = 0
    return gone


def _time_us(birth: Birth, batch: Batch) -> int:
    sent_ms = batch.sent_ms(birth.position)
    return batch.messages.received_us[birth.position] if sent_ms == ABSENT else sent_ms * 1000


def _metadata(
    tags: NDArray[np.int32], retired: NDArray[np.int32], since_us: int, columns: list[Any]
) -> TagMetadata:
    if len(retired):
        columns = [
            pa.concat_arrays([column, pa.nulls(len(retired), column.type)]) for column in columns
        ]
    unit, low, high, documentation, tooltip, read_only, properties, template = columns
    return TagMetadata(
        tag=np.concatenate([tags, retired]),
        since_us=since_us,
        unit=unit,
        low=low,
        high=high,
        documentation=documentation,
        tooltip=tooltip,
        read_only=read_only,
        template=template,
        properties=properties,
        retired=np.arange(len(tags) + len(retired)) >= len(tags),
    )
