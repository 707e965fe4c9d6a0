"""Who takes part in a commit of the spool: a function of a test."""

from __future__ import annotations

from consumer.spool import Participant


class Writes(Participant):
    """Writes what a function does, which is given the transaction."""

    def __init__(self, change):
        self._change = change

    def write(self, db, _room):
        self._change(db)
