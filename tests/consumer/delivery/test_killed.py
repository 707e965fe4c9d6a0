"""A consumer that is killed again and again delivers all it had committed, but what is refused."""

import contextlib
import os
import random
import signal
import subprocess
import sys

import pytest
from support.read_spool import read_from
from support.services import PATIENCE
from support.tag_events import DESCRIPTOR, TABLE, ServerProcess, landed

from consumer.delivery.table import TableDelivery
from consumer.sinks.login import Login
from consumer.sinks.zerobus import ZerobusSink
from consumer.spool import Spool

ROWS = 300  # of each batch, whose ids count from 1


@pytest.mark.parametrize("refused_every", [0, 30], ids=["all are good", "some are refused"])
def test_a_consumer_killed_again_and_again_delivers_all_it_had_committed(tmp_path, refused_every):
    chance = random.Random(4)
    committed = []
    with ServerProcess.running(tmp_path / "tables") as server:
        for _ in range(5):
            with subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _CONSUMER,
                    str(tmp_path / "spool.db"),
                    server.endpoint,
                    server.workspace_url,
                    str(refused_every),
                ],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            ) as consumer:
                seen = range(chance.randint(5, 60))
                committed += [int(consumer.stdout.readline()) for _ in seen]
                consumer.send_signal(signal.SIGKILL)
                committed += [int(line) for line in consumer.stdout if line[-1] == "\n"]
        with contextlib.closing(Spool.open(tmp_path / "spool.db")) as spool:
            last = spool.state.get("arrival_number")
            sink = ZerobusSink(
                server.endpoint, server.workspace_url, login=Login("any", lambda: "any")
            )
            delivery = TableDelivery(spool, sink, TABLE, spool.schemas.register(DESCRIPTOR))
            delivery.start()
            assert delivery.drain(PATIENCE) == 0
            assert delivery.stop(PATIENCE)
            query = "SELECT batch_id, first_row, row_count, reason FROM dead_letters ORDER BY 1"
            letters = read_from(spool, lambda db: db.execute(query).fetchall())
    numbers = landed(tmp_path / "tables")
    assert committed == sorted(committed)
    assert committed[-1] <= last
    batches = last // ROWS
    refused = range(refused_every, batches + 1, refused_every) if refused_every else ()
    assert letters == [(batch_id, 0, 1, "poison") for batch_id in refused]
    lost = {(batch_id - 1) * ROWS for batch_id in refused}
    assert sorted(set(numbers)) == [each for each in range(last) if each not in lost]


_CONSUMER = """if True:
    import sys
    from consumer.delivery.table import TableDelivery
    from consumer.rows import EncodedRows
    from consumer.spool import Spool
    from consumer.sinks.login import Login
    from consumer.sinks.zerobus import ZerobusSink
    from support.tag_events import DESCRIPTOR, TABLE, events
    spool = Spool.open(sys.argv[1])
    schema_id = spool.schemas.register(DESCRIPTOR)
    sink = ZerobusSink(sys.argv[2], sys.argv[3], login=Login("any", lambda: "any"))
    delivery = TableDelivery(spool, sink, TABLE, schema_id)
    delivery.start()
    number = spool.state.get("arrival_number") or 0
    refused_every = int(sys.argv[4])
    while True:
        rows = events(number, number + 300)
        number += 300
        if refused_every and number // 300 % refused_every == 0:
            rows = EncodedRows.from_messages([b"\\xff\\xff", *rows.slice(1, 300)])
        state = {"arrival_number": number}
        delivery.submit(spool.append(TABLE, rows, schema_id=schema_id, state=state))
        print(number, flush=True)
"""
