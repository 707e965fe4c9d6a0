"""A Zerobus-compatible server for laptops and tests: gRPC, OAuth, Delta tables on disk.

```python
with LocalZerobus(Path("data")) as server:
    server.create_table("main.ot.events", schema)
    sdk = ZerobusSdk(server.endpoint, server.workspace_url)
```
"""

from zerobus_local.counters import Counters
from zerobus_local.due_faults import FaultError
from zerobus_local.errors import DataDirInUseError, LocalZerobusError, TableConflictError
from zerobus_local.faults import Faults
from zerobus_local.ports import Ports
from zerobus_local.server import LocalZerobus
from zerobus_local.tls import Tls

__all__ = [
    "Counters",
    "DataDirInUseError",
    "FaultError",
    "Faults",
    "LocalZerobus",
    "LocalZerobusError",
    "Ports",
    "TableConflictError",
    "Tls",
]
