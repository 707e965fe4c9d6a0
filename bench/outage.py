"""An outage of Zerobus under load: what it costs in memory, and how soon it is made up for.

Everything is real and a process of its own: mosquitto, edge nodes that publish at a steady
rate, the consumer, and the local Zerobus server, which is killed and started again.
`python bench/outage.py --seconds 300 --rate 50000` is the full measurement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import yaml
from deltalake import DeltaTable

from consumer.demo import mqtt_server
from consumer.demo.processes import DemoProcess, Interrupt, command_line, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE: Final = "bench.plant.tag_events"
MOST_MEMORY_MIB: Final = 400
MOST_CATCH_UP: Final = 0.5
"""Bounds that the project keeps: resident memory, and catching up, as a part of the outage."""

_WARM_UP: Final = 8.0
_START_SECONDS: Final = 60.0
_EMPTY_SECONDS: Final = 1.0
"""The backlog is gone when less is spooled than comes in within so many seconds."""


@dataclass(slots=True)
class Outage:
    """What one outage cost. Seconds, MiB; rows as counted by the parts themselves.

    `memory_growth_mib` is between the first and the last quarter of the outage, each by its
    median; `spooled_rows` the most that waited; `catch_up_seconds` from the moment when the
    server was back; `cpu_seconds` the consumer's, from its start to its end.
    """

    outage_seconds: float
    rows_per_second: int
    memory_before_mib: int
    memory_during_mib: int
    memory_highest_mib: int
    memory_growth_mib: int
    spooled_rows: int
    spool_mib: int
    catch_up_seconds: float
    published: int
    landed: int
    cpu_seconds: float
    within_bounds: bool = False


class Plant:
    """All processes of the measurement, ended on leaving."""

    def __init__(self, directory: Path, rate: int) -> None:
        self._directory = directory
        self._rate = rate
        self._stack = ExitStack()
        self._interrupt = Interrupt()
        self._grpc, self._token, self._http = free_ports(3)
        self._config = directory / "consumer.yaml"
        self._client = httpx.Client(timeout=10, trust_env=False)
        self.highest_mib = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._client.close()
        self._interrupt.restore()

    def _start(self) -> None:
        program = mqtt_server.choose("mosquitto", mqtt_server.find_mosquitto(), amqtt=False)
        broker = mqtt_server.start(program, self._directory, self._directory, self._interrupt)
        self._stack.callback(broker.process.stop, 5.0, self._interrupt)
        config = {
            "servers": [{"name": "bench", "url": broker.url}],
            "spool": {"path": str(self._directory / "spool.db").replace("$", "$$")},
            "zerobus": {
                "endpoint": f"http://127.0.0.1:{self._grpc}",
                "workspace_url": f"http://127.0.0.1:{self._token}",
                "table": TABLE,
                "client_id": "bench",
                "client_secret": "bench",
            },
            "http": {"listen": f"127.0.0.1:{self._http}"},
            "shutdown_timeout": "60s",
        }
        self._config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.start_sink()
        self.consumer = self._process("consumer", "run", "--config", str(self._config))
        self.consumer.wait_until(self._ready, _START_SECONDS, self._interrupt)
        self._publisher = subprocess.Popen(  # noqa: S603 - a program of this directory
            [
                sys.executable,
                str(Path(__file__).with_name("publisher.py")),
                broker.url,
                str(self._rate),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(self._publisher.kill)

    def start_sink(self) -> None:
        """Start the Zerobus server, for the first time or again."""
        data = ("--data-dir", str(self._directory / "data"))
        self.sink = self._process("zerobus", "local-zerobus", "--config", str(self._config), *data)
        self.sink.wait_until(
            lambda: self.sink.logged("local-zerobus ready"), _START_SECONDS, self._interrupt
        )

    def kill_sink(self) -> None:
        """End the Zerobus server at once, as a crash would."""
        self.sink.stop(0.0, self._interrupt)

    def stop_publishing(self) -> int:
        """End the edge nodes; return how many values they published."""
        out, _ = self._publisher.communicate(timeout=60)
        return int(json.loads(out)["values"])

    def stop_consumer(self) -> float:
        """End the consumer in order; return the CPU seconds it took."""
        seconds = self._cpu_seconds()
        if not self.consumer.stop(90.0, self._interrupt):
            sys.exit(f"the consumer did not end in order:\n{self.consumer.tail()}")
        return seconds

    def landed(self) -> int:
        """Rows in the table."""
        table = DeltaTable(self._directory.joinpath("data", *TABLE.split(".")))
        return int(table.to_pyarrow_dataset().count_rows())

    def status(self) -> dict[str, Any]:
        """The consumer's /status."""
        answer = self._client.get(f"http://127.0.0.1:{self._http}/status")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def watch(self, until: Callable[[dict[str, Any], float], bool]) -> list[int]:
        """Look each half second until the condition holds; return the memory, in MiB."""
        started, memory = time.monotonic(), []
        while True:
            self.consumer.check()
            memory.append(self._resident_mib())
            self.highest_mib = max(self.highest_mib, memory[-1])
            if until(self.status(), time.monotonic() - started):
                return memory
            self._interrupt.wait(0.5)

    def spool_mib(self) -> int:
        """Size of the spool's file on the disk."""
        return sum(each.stat().st_size for each in self._directory.glob("spool.db*")) >> 20

    def _ready(self) -> bool:
        try:
            return self._client.get(f"http://127.0.0.1:{self._http}/readyz").is_success
        except httpx.TransportError:
            return False

    def _process(self, name: str, *arguments: str) -> DemoProcess:
        process = DemoProcess(name, command_line(*arguments), self._directory / f"{name}.log")
        self._stack.callback(process.stop, 20.0, self._interrupt)
        return process

    def _resident_mib(self) -> int:
        text = Path(f"/proc/{self.consumer.pid}/status").read_text(encoding="ascii")
        (line,) = (each for each in text.splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) >> 10

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.consumer.pid}/stat").read_text(encoding="ascii").split()
        return (int(fields[13]) + int(fields[14])) / 100


def measure(seconds: float, rate: int, say: Callable[[str], None] = print) -> Outage:
    """One outage of so many seconds at so many rows per second.

    Raises:
        SystemExit: the consumer did not do what it is for.
    """
    with tempfile.TemporaryDirectory(prefix="outage-") as name, Plant(Path(name), rate) as plant:
        plant.watch(lambda _, elapsed: elapsed >= _WARM_UP)
        before = plant.watch(lambda _, elapsed: elapsed >= 1.0)[-1]
        say(f"  {rate:,} rows/s, {before} MiB; Zerobus goes for {seconds:.0f} s")
        plant.kill_sink()
        during = plant.watch(lambda _, elapsed: elapsed >= seconds)
        spooled, size = plant.status()["spooled_rows"], plant.spool_mib()
        say(f"  {spooled:,} rows wait, {size} MiB on disk, {during[-1]} MiB; Zerobus is back")
        plant.start_sink()
        back = time.monotonic()
        most = 4 * seconds + 60
        plant.watch(
            lambda status, elapsed: status["spooled_rows"] < rate * _EMPTY_SECONDS or elapsed > most
        )
        catch_up = time.monotonic() - back
        say(f"  the backlog is gone after {catch_up:.0f} s, with live data going on")
        published = plant.stop_publishing()
        plant.watch(lambda status, elapsed: status["spooled_rows"] == 0 or elapsed > 60)
        cpu = plant.stop_consumer()
        landed = plant.landed()
        quarter = max(1, len(during) // 4)
        growth = _median(during[-quarter:]) - _median(during[:quarter])
        found = Outage(
            outage_seconds=seconds,
            rows_per_second=rate,
            memory_before_mib=before,
            memory_during_mib=_median(during),
            memory_highest_mib=plant.highest_mib,
            memory_growth_mib=growth,
            spooled_rows=spooled,
            spool_mib=size,
            catch_up_seconds=round(catch_up, 1),
            published=published,
            landed=landed,
            cpu_seconds=round(cpu, 1),
        )
    found.within_bounds = (
        found.memory_highest_mib < MOST_MEMORY_MIB
        and found.catch_up_seconds <= seconds * MOST_CATCH_UP
        and landed >= published
    )
    say(
        f"  {published:,} values published, {landed:,} rows landed, highest memory "
        f"{found.memory_highest_mib} MiB, {'within' if found.within_bounds else 'BEYOND'} bounds"
    )
    return found


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of the outage")
    parser.add_argument("--rate", type=int, default=50_000, help="rows per second")
    arguments = parser.parse_args()
    found = measure(arguments.seconds, arguments.rate)
    print(json.dumps(asdict(found), indent=2))
    return 0 if found.within_bounds else 1


if __name__ == "__main__":
    sys.exit(main())
