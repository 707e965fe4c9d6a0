"""minilake: a local stand-in for a Databricks workspace, which others wrote; a process of its own.

It knows nothing of COMMENT, CLUSTER BY, secrets of principals and system tables.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from support.peer_environments import python_of

_SECONDS = 60.0


@contextmanager
def serving(directory):
    """The address at which it answers.

    Raises:
        UnavailableError: it cannot be installed.
    """
    program = python_of("minilake").with_name("minilake")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (directory / "minilake.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**os.environ, "HOME": str(directory)},
        )
        try:
            _wait(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(_SECONDS)


def _wait(process, port):
    end = time.monotonic() + _SECONDS
    url = f"http://127.0.0.1:{port}/api/2.0/preview/scim/v2/Me"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer x"})
    while True:
        assert process.poll() is None, "minilake has ended"
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            assert time.monotonic() < end, "minilake does not answer"
            time.sleep(0.1)
