"""`sparkplug-zerobus run` as a process, started from a configuration and ended by a signal."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from support.program import start
from support.services import PATIENCE, free_port, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support.program import Started

CLIENT_ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
SECRET = "dose-not-appear-anywhere"
TABLE = "main.plant.tag_events"


def configuration(
    directory: Path, server_url: str, zerobus: Any, /, **changes: Any
) -> dict[str, Any]:
    """A configuration for a broker and a Zerobus server; `changes` go into its sections.

    A change to `servers` that is a mapping is for the one server.
    """
    result: dict[str, Any] = {
        "servers": [{"name": "plant-a", "url": server_url}],
        "host": {"id": "historian"},
        "batch": {"max_delay": "10ms"},
        "spool": {"path": str(directory / "spool.db")},
        "zerobus": {
            "endpoint": zerobus.endpoint,
            "workspace_url": zerobus.workspace_url,
            "table": TABLE,
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "batch": {"max_delay": "50ms"},
        },
        "http": {"listen": f"127.0.0.1:{free_port()}"},
    }
    for key, value in changes.items():
        if key == "servers" and isinstance(value, dict):
            result["servers"][0].update(value)
        elif isinstance(value, dict):
            result[key] = result.get(key, {}) | value
        else:
            result[key] = value
    return result


@dataclass
class ConsumerProcess:
    """One configuration, run as often as `start` is called; the log goes on in one file."""

    directory: Path
    configuration: Mapping[str, Any]
    environ: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = ()
    """What is started instead of the program that is imported already."""
    process: Started | subprocess.Popen[bytes] = field(init=False)
    runs: int = field(default=0, init=False)
    # Nothing is to be verified, and authorities take long to read.
    _http: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=PATIENCE, verify=False), init=False
    )

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config_file = self.directory / "consumer.yaml"
        self.configure({})

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Replace sections of the configuration, for the next run."""
        self.configuration = {**self.configuration, **changes}
        # JSON is YAML.
        self.config_file.write_text(json.dumps(self.configuration), encoding="utf-8")

    @property
    def log_file(self) -> Path:
        """Standard error of the present run."""
        return self.directory / f"log-{self.runs}"

    @property
    def output_file(self) -> Path:
        """Standard output of the present run."""
        return self.directory / f"output-{self.runs}"

    def log(self) -> str:
        """What the present run wrote so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def start(self, *arguments: str) -> None:
        """Start a run, without waiting for it; with these arguments instead of --config FILE."""
        self.runs += 1
        with self.output_file.open("wb") as out, self.log_file.open("wb") as log:
            self.process = start(
                ["run", *(arguments or ("--config", str(self.config_file)))],
                program=self.program,
                cwd=self.directory,
                environ=self.environ,
                stdout=out,
                stderr=log,
            )

    def start_ready(self) -> None:
        """Start a run and wait until rows flow from every server to Zerobus."""
        self.start()
        self.wait_for(lambda: self.answers("/readyz"), "/readyz")

    def wait_for(self, condition: Any, what: str, timeout: float = PATIENCE) -> None:
        """Poll until `condition()`; a run that ended meanwhile is shown with its log."""

        def done() -> object:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self}"
            return condition()

        try:
            wait_until(done, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self}") from error

    def wait_for_log(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until the present run wrote `text`."""
        self.wait_for(lambda: text in self.log(), repr(text), timeout)

    def wait_end(self, timeout: float = PATIENCE) -> int:
        """The exit code of a run that ends by itself."""
        return self.process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End the run at once, as a crash would."""
        self.stop(signal.SIGKILL)

    # -- over HTTP

    @property
    def base_url(self) -> str:
        """Where the present run listens; empty until it said so."""
        found = re.findall(r"on (http://127\.0\.0\.1:\d+)", self.log())
        return str(found[0]) if found else ""

    def get(self, path: str) -> httpx.Response:
        """Ask the present run, once it listens."""
        self.wait_for(lambda: self.base_url, "HTTP")
        return self._http.get(self.base_url + path)

    def answers(self, path: str) -> bool:
        """Whether a path answers 200 at this moment."""
        if not self.base_url:
            return False
        with contextlib.suppress(httpx.TransportError):
            return self._http.get(self.base_url + path).status_code == 200
        return False

    def status(self) -> dict[str, Any]:
        """/status."""
        answer: dict[str, Any] = self.get("/status").raise_for_status().json()
        return answer

    def reasons(self) -> dict[str, int]:
        """How often each reason was counted, the same in /status and in /metrics."""
        before: dict[str, int] = self.status()["reasons"]
        found = re.findall(
            r'^sparkplug_zerobus_remarks_total\{reason="(\w+)"\} (\S+)',
            self.metrics(),
            re.MULTILINE,
        )
        shown = {name: int(float(value)) for name, value in found}
        after: dict[str, int] = self.status()["reasons"]
        for name, count in before.items():
            assert count <= shown[name] <= after[name], name
        assert before.keys() <= shown.keys() <= after.keys()
        return after

    def metrics(self) -> str:
        """/metrics."""
        return self.get("/metrics").raise_for_status().text

    def metric(self, name: str) -> float:
        """One number of /metrics, by its name with labels as it is written there."""
        for line in self.metrics().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no {name} in /metrics")

    def wait_delivered(self, timeout: float = PATIENCE) -> None:
        """Wait until nothing is on the way: every row that was made is acknowledged."""
        seen: list[Any] = []

        def quiet() -> bool:
            status = self.status()
            seen.append((status["messages_received"], status["rows_produced"]))
            return (
                status["spooled_rows"] == 0
                and self.metric("sparkplug_zerobus_queued_bytes") == 0
                and len(seen) > 1
                and seen[-1] == seen[-2]
            )

        self.wait_for(quiet, "everything delivered", timeout)

    def __str__(self) -> str:
        return f"log of run {self.runs}:\n{self.log()}"

    def close(self) -> None:
        """End the present run, if there is one, and let go of what it used."""
        if self.runs and self.process.poll() is None:
            self.process.kill()
        if self.runs:
            self.process.wait(PATIENCE)
        self._http.close()


@contextlib.contextmanager
def consumer(
    directory: Path, config: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Iterator[ConsumerProcess]:
    """A consumer that is not started yet; ended on leaving."""
    process = ConsumerProcess(directory, config, environ or {})
    try:
        yield process
    finally:
        process.close()
