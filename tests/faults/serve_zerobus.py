"""The local Zerobus server as a program, for tests that hurt it.

Argument: a JSON object with data_dir, table, ports, and options of LocalZerobus. Prints
"ready", and ends in order on SIGTERM. Its faults can be set over HTTP.
"""

# ruff: noqa: E402 - what is imported is no garbage, and need not be looked through for any

import gc
import json
import os
import signal
import sys
from pathlib import Path

gc.disable()
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pyarrow as pa

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from zerobus_local import LocalZerobus, Ports, Tls

options = json.loads(sys.argv[1])
schema = TAG_EVENTS_SCHEMA
if options["narrow"]:  # a SMALLINT where the consumer has an INT: large codes are refused
    place = schema.get_field_index("quality_code")
    schema = schema.set(place, schema.field(place).with_type(pa.int16()))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
tls = [Path(each) for each in options["tls"]]
server = LocalZerobus(
    Path(options["data_dir"]),
    ports=Ports(
        f"127.0.0.1:{options['grpc_port']}",
        f"127.0.0.1:{options['http_port']}",
        tls=Tls(*tls) if tls else None,
        expose_faults=True,
    ),
    commit_interval=options["commit_interval"],
    compact_every=options["compact_every"],
    credentials=options["credentials"],
    token_lifetime=options["token_lifetime"],
)
if options["create"]:
    server.create_table(options["table"], schema)
server.start()
gc.freeze()
gc.enable()
print("ready", flush=True)  # noqa: T201 - whoever started it reads it
signal.sigwait({signal.SIGTERM})
server.stop()
