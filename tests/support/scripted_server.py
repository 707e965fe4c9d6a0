"""TCP servers that answer with fixed bytes: what a healthy server cannot be made to say."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from support.services import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def scripted(*answers: bytes, stay: bool = True) -> Iterator[int]:
    """Serve one connection: after each thing received send the next answer.

    Then stay connected, or hang up (without answers: on the first thing received).
    Yields the port.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    if not connection.recv(65536):
                        return
                    connection.sendall(answer)
                if stay:
                    done.wait(PATIENCE)
                    return
                if not answers:
                    connection.recv(65536)
                # An orderly end: closing with data unread would be a reset.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)
