"""Scenarios in which Zerobus is there, but not as it should be: away, silent, refusing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
from support.certificates import Authority
from support.services import PATIENCE

from faults.rig import Size, rig
from faults.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from end_to_end.consumer_process import ConsumerProcess

    from faults.verdict import Verdict

_PAUSES_SECONDS = 120.0
"""After some failures in a row the consumer makes pauses of up to half a minute."""
_IMPATIENT = Path(__file__).with_name("impatient.py")
_TOKEN_FAULTS = (
    ("expire_tokens", {}),
    ("reject_tokens", {"times": 1}),
    ("fail_oauth", {"status": 429, "times": 2}),
    ("fail_oauth", {"status": 401, "times": 1}),
    ("reject_tokens", {"times": 3}),
)
_CODES = (
    # Of each class one first.
    ("UNAVAILABLE", "fail_stream"),
    ("NOT_FOUND", "fail_creation"),
    ("UNAUTHENTICATED", "fail_creation"),
    ("INVALID_ARGUMENT", "fail_stream"),
    *(
        (code.name, moment)
        for code in grpc.StatusCode
        if code is not grpc.StatusCode.OK
        for moment in ("fail_stream", "fail_creation")
    ),
)


def endpoint_down(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The endpoint cannot be reached for a while, under load, and comes back.

    Every second time it is there and says nothing, as behind a firewall that drops packets.
    """
    with (
        rig(directory, size, say) as system,
        tcp_proxy(system.zerobus.grpc_port) as proxy,
    ):
        system.reach_zerobus_over(proxy)
        system.start()
        for number in range(1, size.times + 1):
            silent = number % 2 == 0
            if silent:
                proxy.hold()
                proxy.cut()
            else:
                proxy.refuse()
            system.consumer.wait_for(
                lambda: system.consumer.status()["stream_state"] != "OPENED", "the loss"
            )
            # Nothing is acknowledged any more: what waits becomes more and more.
            spooled = system.consumer.status()["spooled_rows"]
            system.load(size.seconds)
            system.wait_spooled(spooled)
            status = system.consumer.status()
            say(
                f"{number} of {size.times}: {status['stream_state']}, "
                f"{status['spooled_rows']} rows wait: {status['failure'][:80]}"
            )
            assert status["stream_state"] in ("BACKING_OFF", "CONNECTING")
            assert silent or status["failure"]
            if silent:
                proxy.release()
            else:
                proxy.accept()
            system.consumer.wait_for(
                lambda: system.consumer.status()["stream_state"] == "OPENED", "the return"
            )
        verdict = system.verdict(timeout=120)
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


def silent_service(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Zerobus takes rows and does not acknowledge them: the stream is given up, rows go again.

    `size.seconds` is the consumer's patience.
    """
    with rig(directory, size, say) as system:
        system.consumer.program = [sys.executable, str(_IMPATIENT), str(size.seconds)]
        system.start()
        for number in range(1, size.times + 1):
            system.load(0.3)
            failures = system.consumer.status()["failures"]
            system.zerobus.fault("drop_acks")

            def is_given_up(before: int = failures) -> bool:
                status = system.consumer.status()
                lacks = status["failure"].startswith("no acknowledgement for ")
                return bool(lacks and status["failures"] > before)

            system.consumer.wait_for(is_given_up, "the stream given up", size.seconds + PATIENCE)
            say(f"{number} of {size.times}: {system.consumer.status()['failure']}")
            system.zerobus.clear_faults()
            acknowledged = system.consumer.status()["rows_acked"]
            system.consumer.wait_for(
                lambda before=acknowledged: system.consumer.status()["rows_acked"] > before,
                "acknowledgements again",
            )
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        verdict.require(verdict.doubled, "nothing was sent again")
        return verdict


def refused_tokens(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Tokens expire, are refused, or cannot be had, whenever a stream is to be opened."""
    with rig(directory, size, say) as system:
        system.start()
        for number in range(size.times):
            name, arguments = _TOKEN_FAULTS[number % len(_TOKEN_FAULTS)]
            system.load(0.3)
            opened = system.zerobus.counters()["streams_opened"]
            if name == "fail_oauth":  # else nobody would ask for a token
                system.zerobus.fault("expire_tokens")
            system.zerobus.fault(name, **arguments)
            system.zerobus.fault("fail_stream", code="UNAVAILABLE", abrupt=True)
            system.consumer.wait_for(
                lambda before=opened: system.zerobus.counters()["streams_opened"] > before,
                "another stream",
                _PAUSES_SECONDS,
            )
            log = system.consumer.log()
            assert "failed (authentication, " in log
            # One refusal is cured by a new token at once, whatever failed before.
            assert "BLOCKED" not in log or number
            refused = system.zerobus.counters()["tokens_refused"]
            say(f"{number + 1} of {size.times}: {name} {arguments}, {refused} refusals so far")
        verdict = system.verdict()
        verdict.require(refused >= size.times, f"only {refused} tokens were refused")
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


class Ends(NamedTuple):
    """How often a stream ended: by failures, and in order, as the SDK tells it."""

    failures: int
    rotations: int
    left_out: int


def ends(process: ConsumerProcess) -> Ends:
    """How often the streams of a run ended so far, and what of that the log does not say."""
    status = process.status()
    left_out = sum(
        int(float(line.rsplit(" ", 1)[1]))
        for line in process.metrics().splitlines()
        if line.startswith('sparkplug_zerobus_log_lines_left_out_total{kind="delivery_')
    )
    rotations = sum(each["rotations"] for each in status["streams"])
    return Ends(status["failures"], rotations, left_out)


def status_codes(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Every status code of gRPC ends a stream, and refuses one: all rows land in the end."""
    with rig(directory, size, say) as system:
        system.start()
        for number in range(size.times):
            code, moment = _CODES[number % len(_CODES)]
            system.load(size.seconds)
            text = f"{code} of strike {number + 1}"
            opened = system.zerobus.counters()["streams_opened"]
            before = ends(system.consumer)
            system.zerobus.fault(moment, code=code, text=text)
            if moment == "fail_creation":  # something ordinary ends the stream before it
                system.zerobus.fault("fail_stream", code="UNAVAILABLE", abrupt=True)
            # A record that is refused once and then taken is no failure.
            least = 2 if moment == "fail_creation" else int(code != "INVALID_ARGUMENT")

            def has_struck(before: Ends = before, text: str = text, least: int = least) -> bool:
                now = ends(system.consumer)
                failures = now.failures - before.failures
                rotations = now.rotations - before.rotations
                # Of two failures in a row that are alike only the first is logged. And where
                # the half that was sending noticed the end, the SDK tells no reason.
                told = text in system.consumer.log() or failures > 1 or rotations > 0
                told |= now.left_out > before.left_out  # there are more strikes than lines
                return told and failures + rotations >= least

            system.consumer.wait_for(has_struck, text, _PAUSES_SECONDS)
            system.consumer.wait_for(
                lambda opened=opened: system.zerobus.counters()["streams_opened"] > opened,
                f"another stream after {text}",
                _PAUSES_SECONDS,
            )
            acknowledged = system.consumer.status()["rows_acked"]
            system.consumer.wait_for(
                lambda before=acknowledged: system.consumer.status()["rows_acked"] > before,
                f"acknowledgements after {text}",
                _PAUSES_SECONDS,
            )
            more = ends(system.consumer).failures - before.failures
            say(f"{number + 1} of {size.times}: {code}, {moment}: {more} failures, and on it went")
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        verdict.require(not system.dead_letters(), "rows became dead letters")
        return verdict


def untrusted_certificate(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Nothing is sent to an endpoint whose certificate is not trusted; later all of it is."""
    authority = Authority(directory / "certificates")
    tls = {"certificate": authority.issue("zerobus"), "ca_file": authority.ca_file}
    trusting = {"SSL_CERT_FILE": str(authority.ca_file)}
    with rig(directory, size, say, zerobus=tls, shutdown_timeout="100ms") as system:
        system.start(ready=False)
        for number in range(1, size.times + 1):
            system.plant.resume()
            system.consumer.wait_for(
                lambda: "certificate" in system.consumer.status()["failure"].lower(), "a refusal"
            )
            system.load(size.seconds)
            system.wait_spooled(0)
            status = system.consumer.status()
            say(f"{number} of {size.times}: {status['stream_state']}: {status['failure']}")
            assert "certificate" in status["failure"].lower(), status["failure"]
            assert status["rows_sent"] == 0
            assert status["stream_state"] in ("BACKING_OFF", "BLOCKED", "CONNECTING")
            system.stop_quietly()
            assert system.note_committed().rows
            system.consumer.environ = trusting
            system.consumer.start_ready()
            system.consumer.wait_delivered(60)
            if number < size.times:
                system.stop_quietly()
                system.consumer.environ = {}
                system.consumer.start()
                system.consumer.wait_for(system.is_connected, "connected")
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict
