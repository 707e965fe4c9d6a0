"""What each kind of dead letters takes is told, and an unreadable message counts there."""

from __future__ import annotations

from support.columnar import message
from support.unconnected import unconnected

from consumer.broker import InboxBatch
from consumer.monitor import add_metrics, status_of
from sparkplug import MessageBatch

MIB = 1 << 20


def test_status_and_metrics_tell_the_use_of_each_kind(tmp_path):
    with unconnected(tmp_path, spool={"max_dead_letter_bytes": "8MiB"}) as consumer:
        add_metrics(consumer)
        bad = message("NDATA")._replace(payload=b"\xff" * 1_000)
        consumer.decoding._take(InboxBatch({0: MessageBatch([bad, bad])}))
        shares = status_of(consumer)["spool"]["dead_letter_shares"]
        assert {kind: share["max_bytes"] for kind, share in shares.items()} == {
            "refused": 4 * MIB,
            "oversized": 2 * MIB,
            "unreadable": 2 * MIB,
        }
        assert (shares["unreadable"]["count"], shares["refused"]["count"]) == (2, 0)

        def sample(name, kind):
            return consumer.telemetry.registry.get_sample_value(
                f"sparkplug_zerobus_{name}", {"kind": kind}
            )

        assert 2_000 < sample("dead_letter_kind_bytes", "unreadable") < 3_000
        assert sample("dead_letter_kind_max_bytes", "oversized") == 2 * MIB
        assert sample("dead_letter_rows_dropped_total", "oversized") == 0
