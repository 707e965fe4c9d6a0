"""Metadata that births give of tags: unit, range, documentation, template, properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class TagMetadata:
    """Metadata of the tags of one birth that differ from what the birth before said.

    One row per tag. `tag` indexes the catalogue, which knows name, owner and datatype;
    `since_us` is the time of the birth (payload timestamp, else arrival), microseconds
    since 1970 UTC. The others are Arrow arrays with null where the birth says nothing:
    `unit`, `documentation`, `tooltip`, `template` (reference of the template that the tag
    is a member of) and `properties` (all properties, as a JSON object) are strings, `low`
    and `high` doubles, `read_only` booleans. `retired` marks tags that a new birth of
    their node or device does not declare any more; nothing else is known of them.
    """

    tag: NDArray[np.int32]
    since_us: int
    unit: Any
    low: Any
    high: Any
    documentation: Any
    tooltip: Any
    read_only: Any
    template: Any
    properties: Any
    retired: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tag)
