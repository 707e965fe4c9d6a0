"""The pip-installable broker amqtt, as a process: `main()` takes the port as argument.

It is a stopgap for machines without mosquitto: it speaks MQTT 3.1.1 only, and no more
than a demo's messages per second.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any, Final

READY: Final = "amqtt is ready"
"""Printed once connections are accepted."""


def configuration(port: int) -> dict[str, Any]:
    """What amqtt is started with: loopback only, nobody asked for a password."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }


async def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    # Here, not at the top: the package is not among the dependencies of the product.
    from amqtt.broker import Broker  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    broker = Broker(configuration(port))
    await broker.start()
    print(READY, flush=True)  # noqa: T201 - for whoever started this process
    await stopped.wait()
    await broker.shutdown()


def main() -> None:
    """Run the broker on the port that is the only argument."""
    # Its warnings speak of its own deprecated defaults; per-message lines cost time.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(int(sys.argv[1])))
