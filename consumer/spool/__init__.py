"""The spool: one SQLite file. From here on nothing is lost; only this room speaks SQL."""

from consumer.spool.spool import Spool
from consumer.spool.types import NewBatch, SpooledBatch, SpoolStats, StateValue, Transaction

__all__ = ["NewBatch", "Spool", "SpoolStats", "SpooledBatch", "StateValue", "Transaction"]
