"""Members of templates in data as columns: all templates of a batch, level by level.

Templates with anything out of the ordinary in them are left to the reading one by one
(sparkplug.payload.complex.templates): null instances, definitions, members without name or tag,
instances with a quality, files, text that is not UTF-8, whatever is beyond a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from ptars import HandlerPool

from sparkplug.datatypes import DataType
from sparkplug.host.batch import look_up
from sparkplug.host.catalogue import NO_TAG
from sparkplug.messages import is_suspect
from sparkplug.names import QUALITY
from sparkplug.payload import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_TEMPLATE_BYTES,
    booleans,
    numbers,
    validity,
)
from sparkplug.pb import sparkplug_b_columns_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_TEMPLATES: Final = HandlerPool([sparkplug_b_columns_pb2.DESCRIPTOR]).get_for_message(
    sparkplug_b_columns_pb2.Template.DESCRIPTOR
)
_TEMPLATE: Final = int(DataType.Template)
_MOST_CHARACTERS: Final = 32 * 1024 * 1024
"""Of the paths of one level; more are read one by one, with bounds per message."""
_OTHER_VALUES: Final = (
    *("int_value", "long_value", "float_value", "double_value", "boolean_value"),
    *("string_value", "bytes_value", "dataset_value", "extension_value"),
)


@dataclass(slots=True)
class Instances:
    """Template metrics: their paths, and what they hand down to members that lack it.

    `timestamp` holds anything where not `has_timestamp`. `tags` are those of the owner of each,
    by path.
    """

    paths: list[str]
    tags: list[dict[str, int]]
    template: pa.BinaryArray
    timestamp: NDArray[np.uint64]
    has_timestamp: NDArray[np.bool_]
    historical: NDArray[np.bool_]
    transient: NDArray[np.bool_]


class Members(NamedTuple):
    """The leaf metrics of all instances that are not `odd`, in order.

    `instance` is the index of the instance of each leaf, `tag` its tag.
    """

    metrics: pa.StructArray
    instance: NDArray[np.int64]
    tag: NDArray[np.int32]
    odd: NDArray[np.bool_]


class _Level(NamedTuple):
    """The leaves of one level; `trail` are the indices of what they are in, and their own."""

    metrics: pa.StructArray
    paths: pa.StringArray
    instance: NDArray[np.int64]
    trail: list[NDArray[np.int64]]


def read_members(
    instances: Instances,
    odd: NDArray[np.bool_],
    is_special: Callable[[NDArray[np.int32]], NDArray[np.bool_]],
) -> Members | None:
    """Read what is not `odd`; None if nothing can be read this way.

    `is_special` tells for tags whether they are to be read one by one.
    """
    odd = odd | (pc.binary_length(instances.template).fill_null(0).to_numpy() > MAX_TEMPLATE_BYTES)
    levels = _levels(instances, odd)
    if levels is None:
        return None
    metrics = pa.concat_arrays([level.metrics for level in levels])
    paths = pa.concat_arrays([level.paths for level in levels]).to_pylist()
    instance = np.concatenate([level.instance for level in levels])
    tag = look_up(instances.tags, instance, paths)
    odd[instance[(tag == NO_TAG) | is_special(tag)]] = True
    odd[np.bincount(instance, minlength=len(odd)) > MAX_MEMBERS] = True
    order = np.arange(len(tag))
    if len(levels) > 1:
        trail = np.full((len(levels), len(tag)), -1, dtype=np.int64)
        start = 0
        for level in levels:
            for depth, indices in enumerate(level.trail):
                trail[depth, start : start + len(indices)] = indices
            start += len(level.instance)
        order = np.lexsort(trail[::-1])
    order = order[~odd[instance[order]]]
    return Members(metrics.take(pa.array(order)), instance[order], tag[order], odd)


def _levels(instances: Instances, odd: NDArray[np.bool_]) -> list[_Level] | None:
    found: list[_Level] = []
    here = np.flatnonzero(~odd)
    if len(here) == 0:
        return None
    entries = _Entries(
        instances.template.take(pa.array(here)).to_pylist(),
        pa.array([instances.paths[index] for index in here.tolist()], pa.string()),
        here,
        [],
        instances.timestamp[here],
        instances.has_timestamp[here],
        instances.historical[here],
        instances.transient[here],
    )
    for _ in range(MAX_DEPTH):
        below = _open(entries, odd, found)
        if below is None:
            return None
        entries = below
        if not entries.encoded:
            return found
    odd[entries.instance] = True  # nested too deeply
    return found


class _Entries(NamedTuple):
    """Templates of one level."""

    encoded: list[bytes]
    paths: pa.StringArray
    instance: NDArray[np.int64]
    trail: list[NDArray[np.int64]]
    timestamp: NDArray[np.uint64]
    has_timestamp: NDArray[np.bool_]
    historical: NDArray[np.bool_]
    transient: NDArray[np.bool_]


def _open(entries: _Entries, odd: NDArray[np.bool_], found: list[_Level]) -> _Entries | None:
    """Add the leaves of some templates to `found`; the templates in them."""
    if not all(_is_harmless(encoded) for encoded in entries.encoded):
        return None
    try:
        batch = _TEMPLATES.list_to_record_batch(entries.encoded)
    except ValueError:
        return None
    odd[entries.instance[booleans(batch.column("is_definition"))]] = True
    lists = batch.column("metrics")
    ends = np.frombuffer(lists.buffers()[1], dtype=np.int32)[: len(batch) + 1]
    entry = np.repeat(np.arange(len(batch)), np.diff(ends))
    metrics = lists.values
    names = metrics.field("name")
    lengths = pc.binary_length(entries.paths).to_numpy()
    if int(lengths[entry].sum()) > _MOST_CHARACTERS:
        return None
    nested = validity(metrics.field("template_value"))
    odd[entries.instance[entry[_out_of_the_ordinary(metrics, nested)]]] = True
    paths = pc.binary_join_element_wise(entries.paths.take(pa.array(entry)), names, "/")
    timestamp, has_timestamp = metrics.field("timestamp"), validity(metrics.field("timestamp"))
    inherited = _Entries(
        [],
        paths,
        entries.instance[entry],
        [*(trail[entry] for trail in entries.trail), np.arange(len(entry))],
        np.where(has_timestamp, numbers(timestamp, np.uint64), entries.timestamp[entry]),
        has_timestamp | entries.has_timestamp[entry],
        booleans(metrics.field("is_historical")) | entries.historical[entry],
        booleans(metrics.field("is_transient")) | entries.transient[entry],
    )
    leaves = np.flatnonzero(~nested)
    found.append(
        _Level(
            _handed_down(metrics, inherited).take(pa.array(leaves)),
            paths.take(pa.array(leaves)),
            inherited.instance[leaves],
            [trail[leaves] for trail in inherited.trail],
        )
    )
    inner = np.flatnonzero(nested & ~odd[inherited.instance])
    return _Entries(
        metrics.field("template_value").take(pa.array(inner)).to_pylist(),
        paths.take(pa.array(inner)),
        inherited.instance[inner],
        [trail[inner] for trail in inherited.trail],
        inherited.timestamp[inner],
        inherited.has_timestamp[inner],
        inherited.historical[inner],
        inherited.transient[inner],
    )


def _is_harmless(encoded: bytes) -> bool:
    """Whether ptars may see a template: upb can read it, or nothing makes it suspect."""
    if not is_suspect(encoded):
        return True
    try:
        sparkplug_b_columns_pb2.Template.FromString(encoded)
    except DecodeError:
        return False
    return True


def _out_of_the_ordinary(metrics: pa.StructArray, nested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Members that make their instance one to be read by itself."""
    names = metrics.field("name")
    odd: NDArray[np.bool_] = ~validity(names) | booleans(pc.equal(names, ""))
    datatype = metrics.field("datatype")
    code = np.where(validity(datatype), numbers(datatype, np.uint32), 0)
    odd |= (code == _TEMPLATE) & ~nested
    if nested.any():
        odd |= nested & (code != _TEMPLATE) & (code != 0)
        odd |= nested & booleans(metrics.field("is_null"))
        odd |= nested & has_quality(metrics.field("properties"))
        for name in _OTHER_VALUES:
            field = metrics.field(name)
            if field.null_count < len(field):
                odd |= nested & validity(field)
    return odd


def has_quality(properties: pa.BinaryArray) -> NDArray[np.bool_]:
    """Whether encoded properties may have one that is called Quality."""
    if properties.null_count == len(properties):
        return np.zeros(len(properties), dtype=np.bool_)
    return booleans(pc.match_substring(properties, QUALITY))


def _handed_down(metrics: pa.StructArray, inherited: _Entries) -> pa.StructArray:
    """Metrics with the time and flags of the instances around them, where they have none."""
    fields: dict[str, Any] = {field.name: metrics.field(field.name) for field in metrics.type}
    if fields["timestamp"].null_count and inherited.has_timestamp.any():
        fields["timestamp"] = pa.array(inherited.timestamp, mask=~inherited.has_timestamp)
    for name, flags in (
        ("is_historical", inherited.historical),
        ("is_transient", inherited.transient),
    ):
        if flags.any():
            fields[name] = pa.array(flags)
    return pa.StructArray.from_arrays(list(fields.values()), fields=list(metrics.type))
