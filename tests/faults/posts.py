"""A gateway that posts its tag changes, and tries again until it is told that they are accepted."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING

import httpx
import pyarrow.compute as pc
from support.event_stream import SENT_MS, body_of, event
from support.services import PATIENCE, wait_until

from faults.rig import Size, rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from faults.verdict import Verdict

_SENDERS = 6
_EVENTS = 50
Event = tuple[str, int, float]
"""Path, milliseconds since 1970 UTC, value."""


class Gateway:
    """Posts as fast as it is answered, from several threads.

    `accepted` are events of which a consumer said so, `cut` the posts that were not answered.
    """

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/ingest/batch"
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.accepted: list[Event] = []
        self.cut = self.under_way = 0
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(_SENDERS)
        ]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def end(self) -> None:
        """Wait until all that it has begun to send is accepted."""
        self._ended.set()
        for each in self._threads:
            each.join(PATIENCE)
            assert not each.is_alive()

    def _send(self, number: int) -> None:
        path = f"Edge Nodes/Posts/Gateway {number}/Ramp"
        with httpx.Client(timeout=PATIENCE, verify=False) as client:
            for start in itertools.count(0, _EVENTS):
                batch = [(path, SENT_MS + n, n / 8) for n in range(start, start + _EVENTS)]
                body = body_of(*(event(path, v, timestamp=t) for path, t, v in batch))
                while not self._is_accepted(client, body):
                    self._ended.wait(0.02)
                with self._lock:
                    self.accepted += batch
                if self._ended.is_set():
                    return

    def _is_accepted(self, client: httpx.Client, body: bytes) -> bool:
        try:
            with self._lock:
                self.under_way += 1
            answer = client.post(self._url, content=body)
        except httpx.TransportError as error:
            with self._lock:
                self.cut += not isinstance(error, httpx.ConnectError)  # which it never reached
            return False
        finally:
            with self._lock:
                self.under_way -= 1
        return answer.status_code == 200 and answer.json()["accepted"] == _EVENTS


@contextlib.contextmanager
def gateway(address: str) -> Iterator[Gateway]:
    """A gateway that posts; at the end it has ended."""
    made = Gateway(address)
    made.start()
    try:
        yield made
    finally:
        made._ended.set()
        with contextlib.suppress(AssertionError):
            made.end()


def killed_between_post_and_answer(
    directory: Path, size: Size, say: Callable[[str], None]
) -> Verdict:
    """The consumer is killed while posts wait for their answers, and the plant publishes."""
    with rig(directory, size, say) as system:
        system.configure(zerobus={"batch": {"max_delay": "50ms", "max_inflight": 1}})
        system.start()
        system.zerobus.fault("delay_commits", seconds=0.3)
        with gateway(system.consumer.configuration["http"]["listen"]) as sender:
            for number in range(1, size.times + 1):
                before = len(sender.accepted)
                system.consumer.wait_for(lambda n=before: len(sender.accepted) > n, "posts taken")
                system.load_a_while(0.4)
                wait_until(lambda: sender.under_way, what="a post under way")
                system.kill_consumer()
                say(f"kill {number} of {size.times}: {sender.cut} posts were not answered so far")
                system.consumer.start()
            sender.end()
        system.zerobus.clear_faults()
        verdict = system.verdict()
        _check(verdict, sender.accepted, system.table.read())
        verdict.notes.append(
            f"{len(sender.accepted)} events were accepted; {sender.cut} posts had no answer"
        )
        verdict.require(sender.cut >= size.times, "posts were answered at the kills")
        return verdict


def _check(verdict: Verdict, accepted: list[Event], table: pa.Table) -> None:
    """What was accepted has landed, under one id each, and nothing else has."""
    rows = table.filter(pc.equal(table["message_type"], "HTTP"))
    ids: dict[Event, set[str]] = {}
    for path, time, value, event_id in zip(
        rows["tag_path"].to_pylist(),
        rows["event_time"].to_pylist(),
        rows["numeric_value"].to_pylist(),
        rows["event_id"].to_pylist(),
        strict=True,
    ):
        key = path.partition("]")[2], round(time.timestamp() * 1000), value
        ids.setdefault(key, set()).add(event_id)
    missing = set(accepted) - ids.keys()
    verdict.require(not missing, f"{len(missing)} events were accepted and lost")
    unknown = ids.keys() - set(accepted)
    verdict.require(not unknown, f"{len(unknown)} events landed that nobody posted")
    twice = [each for each in ids.values() if len(each) > 1]
    verdict.require(not twice, f"{len(twice)} events landed under two ids")
    distinct = set().union(*ids.values())
    verdict.require(len(distinct) == len(ids), "two events have one id")
