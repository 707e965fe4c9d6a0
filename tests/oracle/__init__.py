"""A slow, obvious, row-by-row reading of docs/decoding.md and docs/event_id.md.

Shares nothing with the columnar implementation but the generated protobuf
modules, so that property tests compare two independent readings of the pages.
"""

from oracle.decoder import COLUMNS, Arrival, Oracle
from oracle.encode import to_tag_event

__all__ = ["COLUMNS", "Arrival", "Oracle", "to_tag_event"]
