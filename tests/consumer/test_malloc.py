"""What `run` does so that its memory stays small."""

import subprocess
import sys

import pytest

from consumer.malloc import FreedMemory

PROGRAM = """
import ctypes, re, sys, tempfile, threading
from consumer.malloc import share_arenas

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


HOLES = """
import ctypes, sys, time
from consumer.malloc import FreedMemory, resident

libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_trim") or not resident():
    sys.exit(3)
libc.malloc.restype = ctypes.c_void_p
size = 16_000
blocks = [libc.malloc(ctypes.c_size_t(size)) for _ in range(6000)]
for block in blocks:
    ctypes.memset(block, 1, size)
for block in blocks[:-1]:  # the last one holds them all
    libc.free(ctypes.c_void_p(block))
before = resident()
FreedMemory(int(sys.argv[1]) << 20, time.monotonic).look()
print(before - resident() >> 20)
"""


def given_back(budget):
    done = subprocess.run(
        [sys.executable, "-c", HOLES, str(budget)], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("malloc is not glibc's")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_what_was_freed_is_given_back_when_the_budget_is_nearly_used():
    assert given_back(budget=64) > 60


def test_while_there_is_enough_nothing_is_given_back():
    assert given_back(budget=4096) < 10


def test_it_is_looked_at_once_a_second():
    now, given = [0.0], []
    freed = FreedMemory(100, lambda: now[0], lambda: 80, lambda: given.append(now[0]))
    for now[0] in (0.0, 0.5, 0.9, 1.0, 1.5, 2.1):
        freed.look()
    assert given == [0.0, 1.0, 2.1]
