"""The one SQLite file, and everything that was ever written into it.

A `Spool` belongs to one consumer, and from it on nothing is lost: batches of rows until they
are acknowledged, and in the same transactions the ledger, births and gaps. Readers of the
file, which may be another process, have reports: balances, dead letters, gaps. Names are
loaded when they are used: balances and gaps need no Arrow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from consumer.spool.balance import (
        Balance,
        MessageBalance,
        RowBalance,
        balance_of_file,
        read_balance,
    )
    from consumer.spool.births import KeptNode
    from consumer.spool.dead_letters import (
        DeadLetter,
        DeadLetters,
        LetterReason,
        LettersKept,
        dead_letters_of,
    )
    from consumer.spool.drills import (
        GOOD_DAYS,
        DrillResult,
        DrillStore,
        unproven_nodes,
        unproven_nodes_of_file,
    )
    from consumer.spool.file import resolved
    from consumer.spool.fleet import FleetStore
    from consumer.spool.gap_report import (
        GapReport,
        GapRow,
        GapsOf,
        NodeAccount,
        oldest_open_gap,
        read_gap_report,
    )
    from consumer.spool.gaps import HOUR_US, GapStore, HourlySums, LastHeard
    from consumer.spool.hours import KEPT_DAYS, acknowledged_by_hour
    from consumer.spool.kept_births import KeptBirth, OwnerPlace, kept_births_of
    from consumer.spool.layout import latest_us
    from consumer.spool.ledger import HTTP_SOURCE, Ledger, entry_of_posts
    from consumer.spool.lock import holder_of, refuse_foreign
    from consumer.spool.opening import damaged_files
    from consumer.spool.shares import LetterKind, dead_letter_shares
    from consumer.spool.spool import Spool
    from consumer.spool.types import (
        DeadLetterShare,
        NewBatch,
        Origin,
        Participant,
        SpooledBatch,
        SpoolStats,
        StateValue,
        Transaction,
    )
    from consumer.spool.versions import KeptVersions
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "balance": [
                "Balance",
                "MessageBalance",
                "RowBalance",
                "balance_of_file",
                "read_balance",
            ],
            "births": ["KeptNode"],
            "dead_letters": [
                "DeadLetter",
                "DeadLetters",
                "LetterReason",
                "LettersKept",
                "dead_letters_of",
            ],
            "drills": [
                "GOOD_DAYS",
                "DrillResult",
                "DrillStore",
                "unproven_nodes",
                "unproven_nodes_of_file",
            ],
            "file": ["resolved"],
            "fleet": ["FleetStore"],
            "gap_report": [
                "GapReport",
                "GapRow",
                "GapsOf",
                "NodeAccount",
                "oldest_open_gap",
                "read_gap_report",
            ],
            "gaps": ["GapStore", "HOUR_US", "HourlySums", "LastHeard"],
            "hours": ["KEPT_DAYS", "acknowledged_by_hour"],
            "kept_births": ["KeptBirth", "OwnerPlace", "kept_births_of"],
            "layout": ["latest_us"],
            "ledger": ["HTTP_SOURCE", "Ledger", "entry_of_posts"],
            "lock": ["holder_of", "refuse_foreign"],
            "opening": ["damaged_files"],
            "shares": ["LetterKind", "dead_letter_shares"],
            "spool": ["Spool"],
            "types": [
                "DeadLetterShare",
                "NewBatch",
                "Origin",
                "Participant",
                "SpoolStats",
                "SpooledBatch",
                "StateValue",
                "Transaction",
            ],
            "versions": ["KeptVersions"],
        },
    )

__all__ = [
    "GOOD_DAYS",
    "HOUR_US",
    "HTTP_SOURCE",
    "KEPT_DAYS",
    "Balance",
    "DeadLetter",
    "DeadLetterShare",
    "DeadLetters",
    "DrillResult",
    "DrillStore",
    "FleetStore",
    "GapReport",
    "GapRow",
    "GapStore",
    "GapsOf",
    "HourlySums",
    "KeptBirth",
    "KeptNode",
    "KeptVersions",
    "LastHeard",
    "Ledger",
    "LetterKind",
    "LetterReason",
    "LettersKept",
    "MessageBalance",
    "NewBatch",
    "NodeAccount",
    "Origin",
    "OwnerPlace",
    "Participant",
    "RowBalance",
    "Spool",
    "SpoolStats",
    "SpooledBatch",
    "StateValue",
    "Transaction",
    "acknowledged_by_hour",
    "balance_of_file",
    "damaged_files",
    "dead_letter_shares",
    "dead_letters_of",
    "entry_of_posts",
    "holder_of",
    "kept_births_of",
    "latest_us",
    "oldest_open_gap",
    "read_balance",
    "read_gap_report",
    "refuse_foreign",
    "resolved",
    "unproven_nodes",
    "unproven_nodes_of_file",
]
