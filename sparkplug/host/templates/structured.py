"""Template metrics flattened to their members, and files put together from parts.

The members are metrics like any other, under the path `instance/member`: a birth declares
them as tags, and their values take the way of all values. The templates themselves are
taken apart one by one; the leaf metrics of a whole batch are then decoded in one go and
put in the place of their templates.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.counting import count_nonzero
from sparkplug.datatypes import DataType, datatype_codes
from sparkplug.host.catalogue import MAX_NAME_CHARACTERS, NO_TAG
from sparkplug.host.owner import MetricOwner
from sparkplug.host.structured_rows import (
    Allowance,
    Birth,
    BirthLeaves,
    Block,
    Flattened,
    Leaves,
    UnknownMembers,
)
from sparkplug.host.templates.file_parts import PART, FileParts
from sparkplug.host.templates.instances import (
    Instance,
    Spot,
    instances_of,
    is_definition,
    unknown_members,
)
from sparkplug.host.templates.members import Instances, has_quality, read_members
from sparkplug.host.templates.splicing import spliced
from sparkplug.host.templates.told import told_of
from sparkplug.messages import MESSAGE_TYPES, Reason
from sparkplug.payload import (
    MAX_MEMBERS,
    MAX_PATH_CHARACTERS,
    DefinitionLibrary,
    Expansion,
    ExpansionLimits,
    booleans,
    expand,
    numbers,
    validity,
)
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.screening import FleetLimits
    from sparkplug.messages import Message
    from sparkplug.payload import TemplateDefinitions

_TEMPLATE: Final = int(DataType.Template)
_BIRTHS: Final = [MESSAGE_TYPES.index(t) for t in (MessageType.NBIRTH, MessageType.DBIRTH)]
_TAKEN: Final = (
    *("template_value", "is_null", "properties", "timestamp", "is_historical", "is_transient"),
)
_MOST_CHARACTERS: Final = 32 * 1024 * 1024
"""Most characters of all paths that the templates of one message are expanded to."""
_LEAST_MEMBERS: Final = 10
"""An instance counts for so many members at least in what a message may be expanded to."""
_MOST_NULL_LEAVES: Final = 500_000
"""Most leaves of the null instances of one batch: few bytes may stand for all of a node."""
_AFTER_SLASH: Final = "0"


class StructuredMetrics:
    """The templates and multi-part files of one MQTT server.

    A birth is `opened` before it is known to fit, then `declared`; data is `taken` as soon
    as its tags are known; `flatten` gives the metrics that are read in the end.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        limits: FleetLimits,
        *,
        emit_births: bool,
        emit_transient: bool,
        tell_instances: bool,
    ) -> None:
        """Make room for the templates and files of a server that has none yet.

        Args:
            catalogue: of the tags of that server.
            limits: bounds of what is read and remembered.
            emit_births: whether the values in births give rows.
            emit_transient: whether transient metrics give rows.
            tell_instances: whether the instances around leaf metrics are told, and their
                parameters.
        """
        self._catalogue = catalogue
        self._limits = limits
        self._emit_births = emit_births
        self._emit_transient = emit_transient
        self._tell = tell_instances
        self._library = DefinitionLibrary(
            limits.max_definition_members, limits.max_definition_bytes
        )
        self._parts = FileParts(
            catalogue,
            limits.max_file_bytes,
            emit_births=emit_births,
            emit_transient=emit_transient,
        )

    # ------------------------------------------------------------------ births

    def open(self, batch: Batch, position: int, owner: MetricOwner) -> BirthLeaves:
        """Take the definitions of a birth, and find out what its instances declare."""
        rows = batch.rows(position)
        datatype = batch.columns.metric("datatype")[rows]
        is_template = (numbers(datatype, np.uint32) == _TEMPLATE) & validity(datatype)
        found = rows.start + np.flatnonzero(is_template)
        names = [] if batch.names is None else [batch.names[row] for row in found.tolist()]
        instances: list[tuple[str, Instance]] = []
        definitions: list[tuple[str, bytes]] = []
        for name, instance in zip(names, instances_of(batch, found), strict=False):
            if name and instance.value.template and is_definition(instance.value.template):
                definitions.append((name, instance.value.template))
            elif name:
                instances.append((name, instance))
        counts = batch.structured.counts
        key = (owner.group_id, owner.edge_node_id)
        if owner.device_id is None:
            counts[Reason.BAD_TEMPLATE] += len(self._library.replace(key, definitions))
        else:  # the specification wants them in the NBIRTH
            counts[Reason.BAD_TEMPLATE] += len(definitions)
        opened = batch.structured.opened[position] = BirthLeaves()
        known = self._library.of(key)
        for name, instance in instances:
            expansion = self._expand(batch, position, name, instance, known)
            if expansion is not None:
                opened.instances.append((instance.row, expansion))
        self._collect(opened, known)
        return opened

    def declared(self, batch: Batch, birth: Birth) -> None:
        """A birth was taken in; its leaves have tags now."""
        leaves, owner, state = birth.leaves, birth.owner, batch.structured
        state.births.append(birth)
        too_long = int(count_nonzero(birth.tags == NO_TAG))
        if too_long:
            state.counts[Reason.METRIC_WITHOUT_NAME] += too_long
        owner.leaves = sorted({name for name in leaves.names if name})
        start = 0
        for row, expansion in leaves.instances:
            tags = birth.tags[start : start + len(expansion.members)]
            start += len(expansion.members) + len(expansion.declared)
            self._put(Spot(batch, birth.position, row), expansion, owner, tags, declares=True)
        rows = batch.rows(birth.position)
        found = rows.start + np.flatnonzero(self._catalogue.is_structured(batch.tag[rows]))
        is_template = self._catalogue.datatype_of(batch.tag[found]) == _TEMPLATE
        state.dropped.update(found[is_template].tolist())
        self._parts.read_rows(batch, found[~is_template])

    def _collect(self, opened: BirthLeaves, definitions: TemplateDefinitions) -> None:
        """Names and datatypes of all leaves."""
        codes: list[int] = []
        for _, expansion in opened.instances:
            for leaf in (*expansion.members, *expansion.declared):
                opened.names.append(leaf.name if len(leaf.name) <= MAX_NAME_CHARACTERS else None)
                codes.append(leaf.datatype)
            references = [expansion.instances[i].template_ref for i in expansion.instance_of]
            opened.templates += [*references, *(each[-1][1] for each in expansion.declared_in)]
        expansions = [expansion for _, expansion in opened.instances]
        opened.told = told_of(expansions, definitions) if self._tell else [None] * len(codes)
        opened.codes = datatype_codes(np.array(codes, dtype=np.uint32))

    # ------------------------------------------------------------------ data

    def read(self, batch: Batch, rows: NDArray[np.int64]) -> list[UnknownMembers]:
        """Take in what of these metrics of data is structured; their tags are known."""
        unknown: list[UnknownMembers] = []
        if not self._catalogue.any_structured:
            return unknown
        found = rows[self._catalogue.is_structured(batch.tag[rows])]
        if len(found) == 0:
            return unknown
        is_template = self._catalogue.datatype_of(batch.tag[found]) == _TEMPLATE
        templates = self._take_columns(batch, found[is_template])
        for instance, position in zip(
            instances_of(batch, templates), batch.message_of(templates).tolist(), strict=True
        ):
            tag = int(batch.tag[instance.row])
            owner = self._catalogue.owners[tag]
            assert isinstance(owner, MetricOwner)
            name = self._catalogue.names[tag]
            expansion = self._expand(batch, position, name, instance, None)
            if expansion is None:
                continue
            if expansion.is_definition:  # also in a birth that is read as data
                is_birth = batch.message_type[position] in _BIRTHS
                batch.structured.counts[Reason.BAD_TEMPLATE] += 0 if is_birth else 1
                continue
            tags = _tags_of(expansion.members, owner)
            spot = Spot(batch, position, instance.row)
            if (tags == NO_TAG).any():
                part = unknown_members(spot, expansion.members, owner, tags, self._catalogue)
                unknown += [part] if part.metrics else []
            self._put(spot, expansion, owner, tags, declares=False)
        self._parts.read_rows(batch, found[~is_template])
        return unknown

    def _take_columns(self, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take in all templates at once; those that are to be read one by one."""
        batch.structured.dropped.update(rows.tolist())
        if len(rows) == 0:
            return rows
        selection = pa.array(rows)
        columns = {name: batch.columns.metric(name).take(selection) for name in _TAKEN}
        odd = ~validity(columns["template_value"]) | booleans(columns["is_null"])
        odd |= has_quality(columns["properties"])
        tags = batch.tag[rows].tolist()
        instances = Instances(
            [self._catalogue.names[tag] for tag in tags],
            [self._catalogue.owners[tag].tags for tag in tags],
            columns["template_value"],
            numbers(columns["timestamp"], np.uint64),
            validity(columns["timestamp"]),
            booleans(columns["is_historical"]),
            booleans(columns["is_transient"]),
        )
        members = read_members(instances, odd, self._catalogue.is_structured)
        if members is None:
            return rows
        batch.structured.blocks.append(Block(rows[members.instance], members.metrics, members.tag))
        return rows[members.odd]

    def resume(self, batch: Batch, unknown: UnknownMembers) -> Message | None:
        """Take members of this batch again, after a birth; what of them is still unknown."""
        spot = Spot(batch, unknown.position, unknown.row)
        tags = _tags_of(unknown.metrics, unknown.owner)
        rest = None
        if (tags == NO_TAG).any():
            part = unknown_members(spot, unknown.metrics, unknown.owner, tags, self._catalogue)
            rest = part.message
        members, tags, texts = self._read(spot, unknown.metrics, tags)
        self._add(spot, members, Leaves(b"", tags, np.zeros(len(tags), dtype=np.bool_), texts))
        return rest

    # ------------------------------------------------------------------ both

    def _expand(
        self,
        batch: Batch,
        position: int,
        name: str,
        instance: Instance,
        definitions: TemplateDefinitions | None,
    ) -> Expansion | None:
        """The leaves of one instance, within what its message may be expanded to."""
        state = batch.structured
        if instance.is_other:
            state.counts[Reason.BAD_TEMPLATE] += 1
            return None
        allowance = state.allowances.setdefault(
            position, Allowance(self._limits.max_metrics, _MOST_CHARACTERS)
        )
        if allowance.members <= 0 or allowance.characters <= 0:
            state.counts[Reason.BAD_TEMPLATE] += 1
            return None
        expansion = expand(
            name,
            instance.value,
            definitions,
            ExpansionLimits(
                members=min(MAX_MEMBERS, allowance.members),
                path_characters=min(MAX_PATH_CHARACTERS, allowance.characters),
            ),
        )
        if not isinstance(expansion, Expansion):
            state.counts[Reason.BAD_TEMPLATE] += 1
            return None
        allowance.members -= max(expansion.members_seen, _LEAST_MEMBERS)
        allowance.characters -= expansion.characters_seen
        state.counts[Reason.BAD_TEMPLATE] += expansion.skipped.total()
        return expansion

    def _put(
        self,
        spot: Spot,
        expansion: Expansion,
        owner: MetricOwner,
        tags: NDArray[np.int32],
        *,
        declares: bool,
    ) -> None:
        """Note which leaf metrics there are in the place of a template."""
        members, tags, texts = self._read(spot, expansion.members, tags)
        state = spot.batch.structured
        for null in expansion.nulls:
            of_null = self._below(null.path, owner)
            state.null_leaves += len(of_null)
            if state.null_leaves > _MOST_NULL_LEAVES:
                state.counts[Reason.BAD_TEMPLATE] += 1
                continue
            members = [*members, *repeat(null.leaf, len(of_null))]
            tags = np.concatenate([tags, of_null])
        returned = np.zeros(len(tags), dtype=np.bool_)
        if declares:
            returned = self._first_after_stale(members, tags)
        self._add(spot, members, Leaves(b"", tags, returned, texts))

    def _add(self, spot: Spot, members: Sequence[Metric], leaves: Leaves) -> None:
        if members:
            leaves.payload = Payload(metrics=members).SerializeToString()
            spot.batch.structured.leaves.setdefault(spot.row, []).append(leaves)

    def _read(
        self, spot: Spot, members: list[Metric], tags: NDArray[np.int32]
    ) -> tuple[list[Metric], NDArray[np.int32], dict[int, str]]:
        """Those of some members that are read, their tags, and values known already."""
        texts: dict[int, str] = {}
        odd = (tags == NO_TAG) | self._catalogue.is_structured(tags)
        if odd.any():
            kept: list[int] = []
            for index, (member, tag) in enumerate(zip(members, tags.tolist(), strict=True)):
                text = self._odd_member(spot, member, tag) if odd[index] else None
                if text == PART:
                    continue
                if text is not None:
                    texts[len(kept)] = text
                kept.append(index)
            members, tags = [members[index] for index in kept], tags[kept]
        for member in members:
            member.ClearField("name")
        return members, tags, texts

    def _odd_member(self, spot: Spot, member: Metric, tag: int) -> str | None:
        """The text of the file that a member completes; PART for a member that is no row at all."""
        batch, position, _ = spot
        if tag == NO_TAG:
            return PART
        if self._catalogue.datatype[tag] == _TEMPLATE:  # known, but it has no members
            batch.structured.counts[Reason.BAD_TEMPLATE] += 1
            return PART
        return self._parts.read_member(batch, position, tag, member)

    def _below(self, path: str, owner: MetricOwner) -> NDArray[np.int32]:
        """The tags of all leaves of an instance."""
        start = bisect_left(owner.leaves, path + "/")
        stop = bisect_left(owner.leaves, path + _AFTER_SLASH, start)
        paths = owner.leaves[start:stop]
        tags = np.fromiter((owner.tags[each] for each in paths), np.int32, len(paths))
        leaves: NDArray[np.int32] = tags[self._catalogue.datatype_of(tags) != _TEMPLATE]
        return leaves

    def _first_after_stale(
        self, members: Sequence[Metric], tags: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        if not self._emit_births or not self._catalogue.states.stale.any():
            return np.zeros(len(tags), dtype=np.bool_)
        eligible = np.ones(len(tags), dtype=np.bool_)
        if not self._emit_transient:
            eligible = np.array([not member.is_transient for member in members], dtype=np.bool_)
        return self._catalogue.take_back_stale(tags, eligible)

    # ------------------------------------------------------------------ the end of a batch

    def flatten(self, batch: Batch, decoded: Decoded) -> Flattened:
        """The metrics of a batch that are read, with those of templates in their place."""
        state = batch.structured
        self._parts.end_batch(batch)
        plain = Flattened(batch.columns, batch.tag, batch.returned, state.texts)
        flattened = spliced(batch) if state.dropped else plain
        if state.counts:
            decoded.counts += state.counts
        return flattened


def _tags_of(members: Sequence[Metric], owner: MetricOwner) -> NDArray[np.int32]:
    """The tags of leaf metrics by their paths."""
    paths = [member.name for member in members]
    return np.fromiter(map(owner.tags.get, paths, repeat(NO_TAG)), np.int32, len(paths))
