"""The local Zerobus server in a process of its own: killed, stopped, started, misled."""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
from end_to_end.consumer_process import CLIENT_ID, SECRET, TABLE
from support.services import PATIENCE, free_port

from consumer.rows.tables import TAG_EVENTS_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Certificate


def narrow_schema() -> pa.Schema:
    """The columns with a SMALLINT where the consumer has an INT: large codes are refused."""
    place = TAG_EVENTS_SCHEMA.get_field_index("quality_code")
    narrow = TAG_EVENTS_SCHEMA.field(place).with_type(pa.int16())
    return TAG_EVENTS_SCHEMA.set(place, narrow)


_PROGRAM = Path(__file__).with_name("serve_zerobus.py")


@dataclass
class ZerobusProcess:
    """One data directory and two ports, which stay the same over kills and starts."""

    data_dir: Path
    narrow: bool = False
    token_lifetime: float = 3600.0
    compact_every: int = 100
    commit_interval: float = 0.05
    certificate: Certificate | None = None
    ca_file: Path | None = None
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _is_new: bool = field(default=True, init=False)
    _http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        trusted = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else False
        self._http = httpx.Client(
            base_url=self.workspace_url,
            timeout=PATIENCE,
            verify=trusted,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # the server may be another one
        )

    @property
    def table_schema(self) -> pa.Schema:
        """The columns of the table."""
        return narrow_schema() if self.narrow else TAG_EVENTS_SCHEMA

    @property
    def _scheme(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.grpc_port}"

    @property
    def workspace_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.http_port}"

    def begin(self) -> None:
        """Start it, without waiting until it serves."""
        options = {
            "data_dir": str(self.data_dir),
            "table": TABLE,
            "narrow": self.narrow,
            "create": self._is_new,
            "grpc_port": self.grpc_port,
            "http_port": self.http_port,
            "token_lifetime": self.token_lifetime,
            "compact_every": self.compact_every,
            "commit_interval": self.commit_interval,
            "credentials": {CLIENT_ID: SECRET},
            "tls": [str(self.certificate.cert_file), str(self.certificate.key_file)]
            if self.certificate
            else [],
        }
        self._is_new = False
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until it serves."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the Zerobus server did not start"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.begin()
        self.wait_ready()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdout is not None
            process.send_signal(number)
            process.wait(PATIENCE)
            process.stdout.close()

    # -- over HTTP

    def fault(self, name: str, **arguments: Any) -> None:
        """Set one of its faults, by the name of the method of zerobus_local.Faults."""
        self._ask("POST", "/faults", json={name: arguments})

    def clear_faults(self) -> None:
        """Forget all faults; what waits because of one goes on."""
        self._ask("DELETE", "/faults")

    def counters(self) -> dict[str, int]:
        """What has happened since it was started."""
        counters: dict[str, int] = self._ask("GET", "/healthz").json()["counters"]
        return counters

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._http.request(method, path, **more).raise_for_status()

    def close(self) -> None:
        """End it, and let go of what was used."""
        self.kill()
        self._http.close()


@contextlib.contextmanager
def zerobus_process(data_dir: Path, **options: Any) -> Iterator[ZerobusProcess]:
    """A server that has begun to start; ended on leaving."""
    server = ZerobusProcess(data_dir, **options)
    server.begin()
    try:
        yield server
    finally:
        server.close()
