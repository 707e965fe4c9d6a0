"""One look into a spool that is open."""

from __future__ import annotations


def read_from(spool, query):
    """What a function finds in the file, all of it of one moment."""
    with spool.snapshot() as db:
        return query(db)
