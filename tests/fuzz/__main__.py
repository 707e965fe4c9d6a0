"""`python -m fuzz`: every target for a while; what failed goes to the corpus."""

# ruff: noqa: T201 - a program, which talks to whoever started it

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from support import peer_environments

from fuzz import campaign
from fuzz.targets import TARGETS


def main() -> int:
    """Run the campaigns, or replay inputs; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each campaign")
    parser.add_argument("--seed", type=int, help="of what is random (default: another each time)")
    parser.add_argument("--replay", type=Path, help="try this input of the target only")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    unknown = set(targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if arguments.replay is not None:
        if len(targets) != 1:
            parser.error("--replay takes the name of one target")
        found = campaign.run(targets[0], "replay", 60.0, replayed=arguments.replay.resolve())
        print(found.why or "holds")
        return 1 if found.why else 0
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    engine = "atheris"
    try:
        peer_environments.packages_of("atheris")
    except peer_environments.UnavailableError as error:
        engine = "mutation"
        print(f"without atheris, by mutation alone: {error}")
    campaigns = [(target, engine) for target in targets]
    if "orders" in targets:
        campaigns.append(("orders", "hypothesis"))
    failures = 0
    for target, with_engine in campaigns:
        print(f"{target}, {with_engine}, seed {seed}: ", end="", flush=True)
        outcome = campaign.run(target, with_engine, arguments.seconds, seed=seed)
        if outcome.failed is None:
            print(f"{outcome.tried:,} inputs, all properties hold")
            continue
        failures += 1
        file = campaign.keep(target, outcome.failed)
        print(f"FAILED after {outcome.tried:,} inputs\n{outcome.why}\nkept as {file}; again with:")
        print(f"  python -m fuzz {target} --replay {file}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
