"""A consumer that is killed again and again delivers all it had committed."""

import contextlib
import os
import random
import signal
import subprocess
import sys

from support.services import PATIENCE
from support.tag_events import DESCRIPTOR, TABLE, ServerProcess, landed

from consumer.delivery.table import TableDelivery
from consumer.sinks.zerobus import ZerobusSink
from consumer.spool import Spool


def test_a_consumer_killed_again_and_again_delivers_all_it_had_committed(tmp_path):
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
                server.endpoint, server.workspace_url, client_id="any", client_secret="any"
            )
            delivery = TableDelivery(spool, sink, TABLE, spool.schemas.register(DESCRIPTOR))
            delivery.start()
            assert delivery.drain(PATIENCE) == 0
            assert delivery.stop(PATIENCE)
    numbers = landed(tmp_path / "tables")
    assert committed == sorted(committed)
    assert committed[-1] <= last
    assert sorted(set(numbers)) == list(range(last))


_CONSUMER = """if True:
    import sys
    from consumer.delivery.table import TableDelivery
    from consumer.spool import Spool
    from consumer.sinks.zerobus import ZerobusSink
    from support.tag_events import DESCRIPTOR, TABLE, events
    spool = Spool.open(sys.argv[1])
    schema_id = spool.schemas.register(DESCRIPTOR)
    sink = ZerobusSink(sys.argv[2], sys.argv[3], client_id="any", client_secret="any")
    delivery = TableDelivery(spool, sink, TABLE, schema_id)
    delivery.start()
    number = spool.state.get("arrival_number") or 0
    while True:
        rows = events(number, number + 300)
        number += 300
        state = {"arrival_number": number}
        delivery.submit(spool.append(TABLE, rows, schema_id=schema_id, state=state))
        print(number, flush=True)
"""
