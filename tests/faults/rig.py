"""Everything that a fault test hurts: broker, Zerobus, consumer, edge nodes, landed table."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from end_to_end.consumer_process import ConsumerProcess, configuration, consumer
from end_to_end.world import LandedTable
from support.arrival_numbers import first_arrival_number
from support.services import PATIENCE, mosquitto, wait_until

from consumer.spool.accounts import LOST_WHEN_KILLED
from consumer.spool.balance import balance_of_file
from faults.books import check_gaps, check_ledger, gaps_report
from faults.plant import HOST_ID, Plant, plant
from faults.spool_evidence import DeadRows, Evidence, dead_rows, evidence, spooled_ids
from faults.verdict import check_numbers, examine, received_keys
from faults.zerobus_process import ZerobusProcess, zerobus_process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from support.services import MosquittoServer

    from faults.tcp_proxy import TcpProxy
    from faults.verdict import Verdict

_SETTLE_SECONDS = 120.0


@dataclass(frozen=True)
class Size:
    """How long a scenario lasts: how often the fault strikes, how long, under which load.

    `rate` is in changed values per second, of all edge nodes together.
    """

    times: int = 3
    seconds: float = 2.0
    rate: float = 1_500.0
    nodes: int = 5
    seed: int = 1


@dataclass
class Rig:
    """A running system under load."""

    directory: Path
    size: Size
    server: MosquittoServer
    zerobus: ZerobusProcess
    consumer: ConsumerProcess
    table: LandedTable
    plant: Plant
    say: Callable[[str], None]
    chance: random.Random
    committed: dict[int, str] = field(default_factory=dict)
    dropped: int = 0
    destroyed: set[str] = field(default_factory=set)
    numbered: bool = True
    strangers: str = ""
    """Group id of edge nodes of which nobody keeps a notebook."""

    def configure(self, **changes: Any) -> None:
        """Change sections of the consumer's configuration, for its next start."""
        self.consumer.configure(
            {key: {**self.consumer.configuration[key], **value} for key, value in changes.items()}
        )

    def reach_zerobus_over(self, proxy: TcpProxy) -> None:
        """Let the consumer's streams go over a proxy from its next start on."""
        self.configure(zerobus={"endpoint": f"http://127.0.0.1:{proxy.port}"})

    def reach_broker_over(self, proxy: TcpProxy) -> None:
        """Let the consumer's MQTT connection go over a proxy from its next start on."""
        [server] = self.consumer.configuration["servers"]
        url = f"mqtt://127.0.0.1:{proxy.port}"
        self.consumer.configure({"servers": [{**server, "url": url}]})

    def start(self, *, ready: bool = True) -> None:
        """Start the load on a consumer that is ready, or one that only hears it."""
        self.zerobus.wait_ready()
        self.consumer.start()
        if ready:
            self.consumer.wait_for(lambda: self.consumer.answers("/readyz"), "/readyz")
        else:
            self.consumer.wait_for(self.is_connected, "connected")
        self.plant.start()
        self.plant.wait_online()
        self.plant.wait_heard_from_all()
        if ready:
            self.consumer.wait_for(lambda: self.consumer.status()["rows_acked"], "rows landing")

    def is_connected(self) -> bool:
        """Whether the consumer has its MQTT connection."""
        return bool(self.consumer.status()["servers"][0]["connected"])

    def load(self, seconds: float) -> None:
        """Let the load go on for so long."""
        until = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= until, seconds + 5, "the time to pass")

    def load_a_while(self, most: float) -> None:
        """Let the load go on for a random time."""
        self.load(self.chance.uniform(0.0, most))

    @property
    def spool(self) -> Path:
        return Path(self.consumer.configuration["spool"]["path"])

    def kill_consumer(self) -> Evidence:
        """Kill the consumer, and take down what it had committed and not delivered."""
        self.consumer.kill()
        return self.note_committed()

    def stop_quietly(self) -> None:
        """Let the edge nodes pause, and stop the consumer once it has spooled what they said."""
        self.plant.pause()
        self.flush()
        code = self.consumer.stop()
        assert code == 0, f"exit code {code}:\n{self.consumer}"

    def flush(self) -> None:
        """Wait until the consumer has taken everything that was published before this."""
        last = {ids[0] for sent in self.plant.notebook.last_data().values() for ids in sent.values}

        def is_spooled() -> bool:
            there = self.table.ids_of_values() | spooled_ids(self.spool)
            return last <= there

        self.consumer.wait_for(is_spooled, "the last values spooled")

    def note_committed(self) -> Evidence:
        """Take down what a consumer that ended has in its spool: all of it must land."""
        found = evidence(self.spool)
        self.committed |= found.rows
        return found

    def begin_anew(self) -> None:
        """The spool is gone: expect nothing of it, and arrival_numbers to begin again."""
        self.destroyed.update(self.committed.values())
        self.committed.clear()
        self.numbered = False

    def give_up(self, event_ids: Collection[str]) -> None:
        """Of what is committed, do not expect these: a test destroyed them."""
        self.destroyed.update(event_ids)
        self.committed = {
            number: each for number, each in self.committed.items() if each not in event_ids
        }

    def dead_letters(self) -> list[DeadRows]:
        return dead_rows(self.spool)

    def wait_landing(self, timeout: float = PATIENCE) -> None:
        """Wait until rows land that did not before."""
        before = self.landed_rows()
        self.consumer.wait_for(lambda: self.landed_rows() > before, "rows land again", timeout)

    def wait_spooled(self, rows: int) -> None:
        """Wait until more rows than these are in the spool."""
        self.consumer.wait_for(
            lambda: self.consumer.status()["spooled_rows"] > rows, f"more than {rows} spooled rows"
        )

    # -- the end

    def settle(self, timeout: float = _SETTLE_SECONDS) -> None:
        """With all faults over: hear from every edge node once more, then wait for it all."""
        self.consumer.wait_for(lambda: self.consumer.answers("/readyz"), "ready again", timeout)
        self.plant.resume()
        self.plant.wait_online(timeout)
        # Something follows every hole, so that it shows.
        self.plant.wait_heard_from_all(timeout)
        self.plant.pause()
        last = {ids[0] for sent in self.plant.notebook.last_data().values() for ids in sent.values}

        def last_landed() -> bool:
            dead = {each for rows in self.dead_letters() for each in rows.event_ids}
            return last <= self.table.ids_of_values() | dead

        self.consumer.wait_for(last_landed, "the last values", timeout)
        self.consumer.wait_delivered(timeout)
        waiting = "sparkplug_zerobus_waiting_messages"
        self.consumer.wait_for(lambda: not self.consumer.metric(waiting), waiting, timeout)
        self.consumer.wait_delivered(timeout)

    def verdict(self, *, timeout: float = _SETTLE_SECONDS) -> Verdict:
        """Settle, stop the consumer in order, and compare what was published with what landed."""
        self.settle(timeout)
        status = self.consumer.status()
        self.dropped += status["rows_dropped"]
        self.say("stopping")
        code = self.consumer.stop()
        found = evidence(self.spool)
        table = self.table.read()
        numbers = pc.count_distinct(table["arrival_number"]).as_py()
        known = table.filter(pc.not_equal(table["group_id"], self.strangers))
        verdict = examine(
            self.plant.notebook.nodes(),
            known,
            found.dead_ids(),
            destroyed=self.destroyed,
            numbered=self.numbered,
        )
        verdict.require(code == 0, f"the consumer ended with {code}")
        verdict.require(not found.rows, f"{len(found.rows)} rows remained in the spool")
        if self.numbered:
            check_numbers(
                verdict,
                table,
                range(first_arrival_number(self.spool), found.next_arrival),
                may_lack=self.dropped,
                dead=sum(each.rows for each in found.dead),
            )
        self._check_committed(verdict, found)
        ledger = status["ledger"]
        verdict.require(ledger["balanced"], f"the ledger does not add up on the way: {ledger}")
        balance = balance_of_file(self.spool)
        check_ledger(
            verdict,
            balance.to_dict(),
            landed=numbers if self.numbered else None,
            dead=sum(each.rows for each in found.dead),
        )
        check_gaps(
            verdict,
            gaps_report(self.consumer.config_file),
            self.plant.notebook.nodes(),
            received_keys(known),
            all_landed=not (self.dropped or self.destroyed or found.dead),
            lost_when_killed=balance.totals().messages.discarded.get(LOST_WHEN_KILLED, 0),
        )
        verdict.require(
            verdict.known == verdict.lost,
            f"{verdict.lost - verdict.known} values were lost without a trace",
        )
        return verdict

    def _check_committed(self, verdict: Verdict, found: Evidence) -> None:
        """What was in the spool after a kill has landed, or is a dead letter."""
        table = self.table.read()
        landed = dict(
            zip(table["arrival_number"].to_pylist(), table["event_id"].to_pylist(), strict=True)
        )
        dead = found.dead_ids()
        lost = [
            number
            for number, event_id in self.committed.items()
            if landed.get(number) != event_id and event_id not in dead
        ]
        verdict.require(not lost, f"{len(lost)} rows were lost that had been committed")

    def landed_rows(self) -> int:
        return int(pc.count_distinct(self.table.read()["event_id"]).as_py())


@contextlib.contextmanager
def rig(
    directory: Path,
    size: Size,
    say: Callable[[str], None],
    *,
    zerobus: dict[str, Any] | None = None,
    load: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    **changes: Any,
) -> Iterator[Rig]:
    """Everything but the start.

    Args:
        directory: for all files.
        size: of the load.
        say: gets progress.
        zerobus: options of the Zerobus process.
        load: options of the plant.
        environ: variables of the consumer's environment.
        changes: of the consumer's configuration.
    """
    directory.mkdir(parents=True, exist_ok=True)
    host = {"id": HOST_ID, "rebirth": {"per_node": "1s", "fleet_per_second": 100}}
    settings: dict[str, Any] = {"host": host, **changes}
    with (
        zerobus_process(directory / "lake", **(zerobus or {})) as server_process,
        mosquitto(directory) as server,
        plant(server.url, nodes=size.nodes, rate=size.rate, **(load or {})) as edge_nodes,
        consumer(
            directory,
            configuration(
                directory,
                server.url,
                server_process,
                **settings,
            ),
            environ,
        ) as process,
    ):
        yield Rig(
            directory,
            size,
            server,
            server_process,
            process,
            LandedTable(directory / "lake", schema=server_process.table_schema),
            edge_nodes,
            say,
            random.Random(size.seed),
        )
