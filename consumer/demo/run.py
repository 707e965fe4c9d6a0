"""One run of the demo, from start to verification."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from consumer.demo.processes import Interrupt, Interrupted, ProcessEnded
from consumer.demo.progress import Progress
from consumer.demo.report import Result
from consumer.demo.system import DemoOptions, System, SystemReading
from consumer.demo.verification import count_rows, verify

if TYPE_CHECKING:
    from rich.console import Console

_TICK: Final = 0.25
_DRAIN_SECONDS: Final = 60.0
_STALLED_SECONDS: Final = 20.0
_QUIET_SECONDS: Final = 1.0


def run_demo(options: DemoOptions, human: Console) -> Result:
    """Run the system for a while, stop it, and compare the table with what was published.

    Everything that was started has ended when this returns or raises.

    Args:
        options: what is wanted.
        human: takes progress and explanations.

    Raises:
        DemoError: a part does not start.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    interrupt = Interrupt()
    try:
        return _run(options, human, interrupt)
    except Interrupted:
        human.print(f"Interrupted. What landed is kept in {options.data_dir}", soft_wrap=True)
        raise
    finally:
        interrupt.restore()


def _run(options: DemoOptions, human: Console, interrupt: Interrupt) -> Result:
    rows_before = count_rows(options.table_dir)
    system = System(options, interrupt, lambda line: human.print(line, soft_wrap=True))
    problems: list[str] = []
    reading: SystemReading | None = None
    try:
        system.start()
        try:
            _flow(system, human, interrupt)
        except ProcessEnded as error:
            problems.append(str(error))
        reading = system.read()
    finally:
        if reading is None:
            human.print("Stopping everything ...")
        problems += system.stop()
    interrupt.wait(0.0)
    assert system.fleet is not None
    assert system.server is not None
    fleet = system.fleet
    ledger = fleet.ledger
    landed = verify(options.table_dir, ledger.event_ids | ledger.births, fleet.gateways)
    if landed.side.tags < ledger.tags and not problems:
        problems.append(
            f"{ledger.tags - landed.side.tags:,} of {ledger.tags:,} tags are not in tag_metadata"
        )
    return Result(
        published=ledger.published,
        distinct_published=ledger.distinct,
        reading=reading,
        landed=landed,
        rows_before=rows_before,
        problems=tuple(problems),
        data_dir=options.data_dir,
        table_dir=options.table_dir,
        broker=system.server.kind,
    )


def _flow(system: System, human: Console, interrupt: Interrupt) -> None:
    """Let the gateways publish as long as they should, then wait until all of it is landed."""
    with Progress(human) as progress:
        if system.options.stay:
            _publish_until_interrupted(system, progress, interrupt)
        else:
            _publish_for_some_time(system, progress, interrupt)
        assert system.fleet is not None
        system.fleet.pause()
        _drain(system, progress, interrupt)


def _publish_for_some_time(system: System, progress: Progress, interrupt: Interrupt) -> None:
    seconds = system.options.seconds
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        system.check()
        progress.show(system.read(), f"{elapsed:.0f} of {seconds:g} s")
        interrupt.wait(min(_TICK, seconds - elapsed))


def _publish_until_interrupted(system: System, progress: Progress, interrupt: Interrupt) -> None:
    """Take the first Ctrl-C for the end of publishing. A further one interrupts the demo."""
    begin = time.monotonic()
    while not interrupt.wait_for_it(_TICK):
        system.check()
        progress.show(system.read(), f"{time.monotonic() - begin:.0f} s, until Ctrl-C")


def _drain(system: System, progress: Progress, interrupt: Interrupt) -> None:
    """Wait until everything published is acknowledged, or nothing moves any more."""
    fleet = system.fleet
    assert fleet is not None
    before = system.read()
    begin = moved_at = before.at
    while True:
        system.check()
        quiet = fleet.quiet  # before it is read what they have published
        reading = system.read()
        if _marks(reading) != _marks(before):
            moved_at = reading.at
        before = reading
        idle = reading.at - moved_at
        settled = quiet and reading.number("spooled_rows") == 0 and reading.number("rows_acked") > 0
        # A birth that repeats a value gives a row or none; a death gives rows of its own.
        complete = settled and (
            reading.received == reading.published
            or (reading.received >= fleet.ledger.distinct and idle >= _QUIET_SECONDS)
        )
        if complete or idle >= _STALLED_SECONDS or reading.at - begin >= _DRAIN_SECONDS:
            end = "all delivered" if complete else "gave up waiting for the rest"
            progress.show(reading, f"{end}; rates of the whole run", last=True)
            return
        progress.show(reading, "gateways are quiet, waiting for the rest")
        interrupt.wait(_TICK / 2)


def _marks(reading: SystemReading) -> tuple[int, ...]:
    return (
        reading.published,
        reading.received,
        reading.landed,
        reading.number("rows_acked"),
        reading.number("spooled_rows"),
    )
