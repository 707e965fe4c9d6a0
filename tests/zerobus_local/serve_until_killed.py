"""A server in a process of its own, for tests that kill it.

Arguments: data directory, gRPC port, HTTP port. Prints both URLs.
"""

import sys
import threading
from pathlib import Path

from zerobus_local import LocalZerobus, Ports

data_dir, grpc_port, http_port = sys.argv[1:]
server = LocalZerobus(
    Path(data_dir),
    ports=Ports(f"127.0.0.1:{grpc_port}", f"127.0.0.1:{http_port}"),
    commit_interval=0.02,
    compact_every=10,
)
server.start()
print(server.endpoint, server.workspace_url, flush=True)  # noqa: T201 - the test reads it
threading.Event().wait()
