"""`python -m faults`: every fault test, longer than in the test suite, and a table at the end."""

# ruff: noqa: T201 - a program, which talks to whoever started it

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from faults.catalogue import SCENARIOS, play
from faults.verdict import Verdict, heading


def main() -> int:
    """Run the scenarios one after the other; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="for all of them together")
    parser.add_argument(
        "--only",
        action="append",
        choices=SCENARIOS,
        metavar="NAME",
        help=f"this one; may be repeated. Of {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--seed", type=int, help="of what is random (default: another each time)")
    parser.add_argument("--keep", type=Path, help="keep all files here, also what went well")
    arguments = parser.parse_args()
    logging.getLogger("consumer.simulator").setLevel(logging.ERROR)
    names = arguments.only or list(SCENARIOS)
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    seconds = arguments.minutes * 60 / len(names)
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"{len(names)} scenarios, about {seconds:.0f} s each, seed {seed}, in {directory}")
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)

    lines, broken = [], 0
    for name in names:
        say(f"{name} begins")
        try:
            verdict = play(name, directory / name, SCENARIOS[name].sized_for(seconds, seed), say)
        except pytest.skip.Exception as reason:
            lines.append(f"{name}: skipped, {reason}")
            continue
        except Exception as error:  # noqa: BLE001 - the others are to run all the same
            traceback.print_exc()
            verdict = Verdict(scenario=name, problems=[f"{type(error).__name__}: {error}"[:500]])
        broken += not verdict.kept
        if verdict.kept and not arguments.keep:
            shutil.rmtree(directory / name)
        lines.append(verdict.line())
        say(f"{name} ends\n{verdict}")
    print("\n".join(["", heading(), *lines]))
    print(f"{broken} of {len(names)} scenarios broke a promise" if broken else "all as promised")
    if not arguments.keep:
        with contextlib.suppress(OSError):  # what broke a promise is left there
            directory.rmdir()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
