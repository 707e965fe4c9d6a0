"""What is known of the metrics of one batch that are not one row each.

A Template metric is as many rows as it has leaf metrics; the part of a file is no row, but
the last part is one for the whole file. Everything is by row: the position of a metric
among all metrics of its batch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.owner import MetricOwner
    from sparkplug.messages import Message, Reason
    from sparkplug.payload import Expansion, PayloadColumns
    from sparkplug.pb.sparkplug_b_pb2 import Metric

T = TypeVar("T", bound=np.generic)


@dataclass(slots=True)
class Leaves:
    """Leaf metrics of one Template metric that are to be read.

    `payload` is an encoded payload of nothing but these metrics. For each of them `tags` has its
    tag id, and `returned` whether it is the first birth value of a tag that was STALE. `texts`
    has values that are known already, by index.
    """

    payload: bytes
    tags: NDArray[np.int32]
    returned: NDArray[np.bool_]
    texts: dict[int, str]


@dataclass(slots=True)
class BirthLeaves:
    """The leaf metrics that the template instances of one birth declare.

    `names` has None for a path that is too long; `codes` are datatypes. `instances` are the
    rows of the instances with their expansions: first the members of the first one, then
    what its definition adds, then those of the second one, and so on. `templates` are for each
    leaf the reference of its innermost instance's template, `told` what else is told of the
    instances around it: members of a JSON object, without its braces.
    """

    names: list[str | None] = field(default_factory=list)
    codes: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, dtype=np.uint8))
    templates: list[str | None] = field(default_factory=list)
    told: list[str | None] = field(default_factory=list)
    instances: list[tuple[int, Expansion]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def characters(self) -> int:
        """Characters of all paths together."""
        return sum(len(name) for name in self.names if name)


class Birth(NamedTuple):
    """A birth that was taken in: what describes its tags.

    `before` are the tags that the owner's birth before declared. `tags` are those of
    `leaves`, in the same order.
    """

    position: int
    owner: MetricOwner
    before: NDArray[np.int32]
    leaves: BirthLeaves
    tags: NDArray[np.int32]


class UnknownMembers(NamedTuple):
    """Members of the Template metric at `row` that no birth declares.

    `message` is one of the template's owner, with the time and seq of the one at `position`
    that they came in, and has these metrics alone, under their paths.
    """

    position: int
    row: int
    owner: MetricOwner
    message: Message
    metrics: list[Metric]


class Block(NamedTuple):
    """Leaf metrics of some templates, with the row of its template for each; ascending."""

    row: NDArray[np.int64]
    metrics: Any
    tag: NDArray[np.int32]


class Flattened(NamedTuple):
    """The metrics of a batch with templates replaced by their leaves, and without file parts.

    `texts` has the values of files that came in parts, by row. `origin` is for each metric
    the row that it, or its template, has in the batch; None if nothing was replaced.
    """

    columns: PayloadColumns
    tag: NDArray[np.int32]
    returned: NDArray[np.bool_]
    texts: dict[int, str]
    origin: NDArray[np.int64] | None = None

    def of(self, by_row: NDArray[T]) -> NDArray[T]:
        """What holds for the rows of the batch, for each of these metrics."""
        return by_row if self.origin is None else by_row[self.origin]


@dataclass(slots=True)
class Allowance:
    """What the templates of one message may still be expanded to."""

    members: int
    characters: int


@dataclass(slots=True)
class Structured:
    """The templates and file parts of one batch, as far as they have been looked at."""

    opened: dict[int, BirthLeaves] = field(default_factory=dict)  # by position of the birth
    leaves: dict[int, list[Leaves]] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)  # of other rows than `leaves`
    dropped: set[int] = field(default_factory=set)
    texts: dict[int, str] = field(default_factory=dict)
    births: list[Birth] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    allowances: dict[int, Allowance] = field(default_factory=dict)  # by position
    null_leaves: int = 0
