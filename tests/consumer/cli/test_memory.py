"""What `run` does so that its memory stays small."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, re, sys, tempfile, threading
from consumer.cli.run import share_arenas

if "share" in sys.argv:
    share_arenas()
libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_info"):
    sys.exit(3)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(10)

def use():
    libc.malloc(ctypes.c_size_t(1000))
    together.wait()

threads = [threading.Thread(target=use) for _ in range(10)]
for each in threads: each.start()
for each in threads: each.join()
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    print(len(re.findall(rb"<heap nr=", file.read())))
"""


def heaps(*arguments, **environ):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode == 3:
        pytest.skip("malloc is not glibc's")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_threads_share_few_heaps():
    assert heaps("share") <= 2 < heaps()


def test_whoever_sets_their_number_has_decided():
    assert heaps("share", MALLOC_ARENA_MAX="5") == 5
