"""The server that is not there, begun again at its port."""

import contextlib
import time

from page.fake_api import FakeServer
from support.services import PATIENCE


@contextlib.contextmanager
def again(world, port):
    """The same server at the same port, as after a restart."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            server = FakeServer(world, port)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    server.start()
    try:
        yield server
    finally:
        server.stop()
