"""All parts of a configuration, checked side by side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from consumer.check import drills, endpoint, mqtt, spool, token
from consumer.check.report import Finding, Running, Status
from consumer.check.traffic import Traffic, capacity
from consumer.config import configured_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.config import Configuration

DEFAULT_TIMEOUT: Final = 10.0
DEFAULT_LISTEN: Final = 3.0


def check_everything(
    config: Configuration,
    *,
    source: str,
    timeout: float = DEFAULT_TIMEOUT,
    listen: float = DEFAULT_LISTEN,
) -> Iterator[Finding]:
    """Check all parts, side by side; findings come in the order of the configuration.

    Args:
        config: What to check.
        source: The name of its file.
        timeout: How many seconds each step of a part may take.
        listen: How many seconds to listen on each MQTT server.
    """
    # Name, TCP, TLS; CONNECT; SUBSCRIBE. A name may have several addresses.
    mqtt_seconds = 4 * timeout + listen
    heard = [Traffic() for _ in config.servers]
    running = [
        Running(
            f"mqtt {server.name}",
            partial(
                mqtt.check_server,
                server,
                key=f"servers[{index}]",
                host_id=config.host.id,
                listen=listen,
                timeout=timeout,
                traffic=traffic,
            ),
            mqtt_seconds,
        )
        for index, (server, traffic) in enumerate(zip(config.servers, heard, strict=True))
    ]
    running.append(Running("spool", lambda: spool.check_spool(config.spool), timeout))
    if config.host.gate_on_sink:
        running.append(Running(drills.PART, lambda: drills.check_drills(config), timeout))
    running.append(
        Running(token.PART, lambda: token.check_token(config.zerobus, timeout=timeout), 2 * timeout)
    )
    yield _summary(config, source)
    for warning in config.warnings:
        yield Finding(Status.WARN, "configuration", warning)
    has_token = True
    for part in running:
        for finding in part.findings():
            if finding.part == token.PART and finding.status is Status.FAIL:
                has_token = False
            yield finding
    yield from capacity(config, heard)
    if not has_token:
        text = "not tried, for there is no token"
        yield Finding(Status.NOTE, endpoint.PART, text, f"mend {token.PART} first")
        return
    streams = [
        Running(
            endpoint.PART,
            partial(
                endpoint.check_endpoint,
                config.zerobus,
                timeout=timeout,
                table=table,
                normalize=config.normalize,
            ),
            3 * timeout,
        )
        for table in configured_tables(config.zerobus, config.normalize)
    ]
    for stream in streams:
        yield from stream.findings()


def _summary(config: Configuration, source: str) -> Finding:
    count = len(config.servers)
    servers = "1 MQTT server" if count == 1 else f"{count} MQTT servers"
    tables = list(configured_tables(config.zerobus, config.normalize))
    what = f"{'table' if len(tables) == 1 else 'tables'} {', '.join(tables)}"
    return Finding(Status.OK, "configuration", f"{source}: {servers}, {what}")
