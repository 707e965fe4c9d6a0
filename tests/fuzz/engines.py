"""What makes inputs: mutation of the seeds, or atheris, which is led by coverage.

Both run in a process of their own, which `fuzz.campaign` starts, and write down each input
before it is tried: what ends the process is known afterwards.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.target import Target

SLOWEST_VARIABLE = "FUZZ_SLOWEST"
SLOWEST = int(os.environ.get(SLOWEST_VARIABLE, "30"))
"""Seconds that one input may take."""
MOST_MEMORY = 2 * 2**30
"""Bytes of address space that the process may take beyond what it has at its start."""

_LARGEST_POOL = 2000
_NUMBERS = (
    *(0, 1, 2, 127, 128, 129, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1),
    *(2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 253_402_300_799_999),
)


class Notebook:
    """The input that is being tried, in a file; how many there were."""

    def __init__(self, file: Path) -> None:
        self.tried = 0
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._count = os.open(file.with_suffix(".count"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def note(self, data: bytes) -> None:
        """This input is the next. The one before it is forgotten."""
        self.tried += 1
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data, 0)
        os.pwrite(self._count, self.tried.to_bytes(8, "big"), 0)
        faulthandler.dump_traceback_later(SLOWEST, exit=True)


def bound_memory() -> None:
    """Let what takes too much memory fail with MemoryError."""
    with contextlib.suppress(OSError):  # no /proc
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def mutated(pool: list[bytes], rng: random.Random, largest: int) -> bytes:
    """A few changes: bits, numbers, pieces left out, doubled, or taken from another input."""
    changed, other = bytearray(rng.choice(pool)), rng.choice(pool)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 2, 3, 8, 40))
        match rng.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at:at] = rng.randbytes(length)
            case 5:
                changed[at : at + rng.choice((0, 1, 4))] = _varint(rng.choice(_NUMBERS))
            case 6:
                start = rng.randrange(len(other) + 1)
                changed[at : at + length] = other[start : start + 4 * length]
            case _:
                del changed[at + rng.randrange(64) :]
                start = rng.randrange(len(other) + 1)
                changed += other[start:]
    return bytes(changed[:largest])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def mutation(
    target: Target, notebook: Notebook, seed: int, seconds: float, inputs: int | None = None
) -> None:
    """Try the seeds, then mutations of them and of mutations, until it is enough."""
    rng = random.Random(seed)
    seeds = target.seeds()
    pool = list(seeds)
    # In an order of its own each time, so that a short time does not see the first ones only.
    rng.shuffle(seeds)
    end = time.monotonic() + seconds
    while time.monotonic() < end and notebook.tried != inputs:
        data = seeds.pop() if seeds and rng.random() < 0.5 else mutated(pool, rng, target.largest)
        notebook.note(data)
        target.run(data)
        if rng.random() < 0.02:  # without coverage to tell which are worth it
            pool.append(data)
            if len(pool) > _LARGEST_POOL:
                pool.pop(rng.randrange(len(pool)))


def main() -> None:
    """The process of one campaign: `python -m fuzz.engines` with its order as JSON."""
    order = json.loads(sys.argv[1])
    with contextlib.ExitStack() as stack:
        if order["engine"] == "atheris":
            import atheris  # noqa: PLC0415 - only where it is installed

            stack.enter_context(atheris.instrument_imports(include=["sparkplug", "consumer"]))
        from fuzz.target import target_of  # noqa: PLC0415 - loads what is to be instrumented

        target = target_of(order["target"])
    faulthandler.enable()
    notebook = Notebook(Path(order["notebook"]))
    if order["engine"] == "replay":
        data = Path(order["input"]).read_bytes()
        bound_memory()
        notebook.note(data)
        target.run(data)
    elif order["engine"] == "hypothesis":
        from fuzz.machine import tell_stories  # noqa: PLC0415 - takes a second to import

        bound_memory()
        tell_stories(notebook, order["seed"], order["seconds"], order["inputs"])
    elif order["engine"] == "mutation":
        bound_memory()
        mutation(target, notebook, order["seed"], order["seconds"], order["inputs"])
    else:
        _atheris(target, notebook, order)
    faulthandler.cancel_dump_traceback_later()


def _atheris(target: Target, notebook: Notebook, order: dict[str, object]) -> None:
    import atheris  # noqa: PLC0415 - only where it is installed

    corpus = Path(str(order["corpus"]))
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)

    def one(data: bytes) -> None:
        notebook.note(data)
        target.run(data)

    arguments = [
        "fuzz",
        str(corpus),
        f"-max_total_time={order['seconds']:.0f}",
        f"-seed={order['seed'] or 1}",
        f"-max_len={target.largest}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MOST_MEMORY >> 20}",
        f"-artifact_prefix={corpus.parent}/",
        "-verbosity=0",
    ]
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
