"""`python -m attack`: each shape alone, then all of them beside an honest fleet."""

# ruff: noqa: T201 - a program, which talks to whoever started it

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults.rig import Size
from faults.verdict import Verdict

from attack.calm import each_alone
from attack.judge import heading
from attack.mix import mixed
from attack.shapes import SHAPES
from attack.strangers import DEEDS

_NODES, _RATE = 20, 3_000.0


def main() -> int:
    """Attack; 1 if a promise was not kept."""
    names = [*SHAPES, *DEEDS]
    parser = argparse.ArgumentParser(prog="python -m attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for the mix with the fleet")
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="SHAPE",
        help=f"this one; may be repeated. Of {', '.join(names)}",
    )
    parser.add_argument("--memory", type=float, default=512.0, help="the consumer's budget in MiB")
    parser.add_argument("--part", type=float, default=1.0, help="of each shape's size, 1 is all")
    parser.add_argument("--seed", type=int, help="of what is random (default: another each time)")
    parser.add_argument("--alone", action="store_true", help="leave out the mix with the fleet")
    arguments = parser.parse_args()
    logging.getLogger("consumer.simulator").setLevel(logging.ERROR)
    names = arguments.only or names
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    directory = Path(tempfile.mkdtemp(prefix="attack-"))
    print(f"{len(names)} shapes, {arguments.memory:.0f} MiB, seed {seed}, in {directory}")
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)

    say(f"each alone\n{heading()}")
    costs = each_alone(directory, names, arguments.memory, _bare, part=arguments.part, seed=seed)
    kept = all(each.kept for each in costs)
    if not arguments.alone:
        seconds = arguments.minutes * 60
        size = Size(seconds=seconds, nodes=_NODES, rate=_RATE, seed=seed)
        say(f"all of them beside {_NODES} honest edge nodes, for {seconds:.0f} s")
        try:
            verdict = mixed(directory, size, names, arguments.memory, say, part=arguments.part)
        except Exception as error:  # noqa: BLE001 - the table is to be seen all the same
            traceback.print_exc()
            verdict = Verdict(scenario="mix", problems=[f"{type(error).__name__}: {error}"[:500]])
        kept = kept and verdict.kept
        print(f"\n{verdict}")
    print("\n".join(["", heading(), *(each.line() for each in costs)]))
    print("all as promised" if kept else "a promise was broken")
    shutil.rmtree(directory)
    return 0 if kept else 1


def _bare(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
