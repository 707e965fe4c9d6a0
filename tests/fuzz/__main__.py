"""`python -m fuzz`: every target for a while; what failed goes to the corpus.

The target `suite` are the generated tests of the suite, with other cases than it tries.
"""

# ruff: noqa: T201 - a program, which talks to whoever started it

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from support import peer_environments

from fuzz import campaign, suite
from fuzz.targets import TARGETS

SUITE = "suite"


def main() -> int:
    """Run the campaigns, or replay inputs; 1 if one failed."""
    names = [*TARGETS, SUITE]
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each campaign")
    parser.add_argument("--seed", type=int, help="of what is random (default: another each time)")
    parser.add_argument("--replay", type=Path, help="try this input of the target only")
    parser.add_argument(
        "--only-tell", action="store_true", help="end with 0 also if something is found"
    )
    arguments = parser.parse_args()
    targets = arguments.targets or names
    unknown = set(targets) - set(names)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if arguments.replay is not None:
        if len(targets) != 1 or targets[0] not in TARGETS:
            parser.error(f"--replay takes the name of one target but {SUITE}")
        found = campaign.run(targets[0], "replay", 60.0, replayed=arguments.replay.resolve())
        print(found.why or "holds")
        return 1 if found.why else 0
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    failures = 0
    if chosen := [target for target in targets if target in TARGETS]:
        failures += _run_campaigns(chosen, seed, arguments.seconds)
    if SUITE in targets:
        failures += _explore(seed, arguments.seconds)
    return 1 if failures and not arguments.only_tell else 0


def _run_campaigns(targets: list[str], seed: int, seconds: float) -> int:
    """Run the campaigns of some targets; return how many failed."""
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
        outcome = campaign.run(target, with_engine, seconds, seed=seed)
        if outcome.failed is None:
            print(f"{outcome.tried:,} inputs, all properties hold")
            continue
        failures += 1
        file = campaign.keep(target, outcome.failed)
        print(f"FAILED after {outcome.tried:,} inputs\n{outcome.why}\nkept as {file}; again with:")
        print(f"  python -m fuzz {target} --replay {file}")
    return failures


def _explore(seed: int, seconds: float) -> int:
    """Try other cases than the suite does; return how many tests failed."""
    print(f"{SUITE}, the generated tests with other cases, from seed {seed} on:", flush=True)
    explored = suite.explore(seconds, seed, tell=_tell)
    print(f"{explored.tests:,} tests with cases of their own, {len(explored.findings)} failed")
    return len(explored.findings)


def _tell(finding: suite.Finding) -> None:
    bar = "=" * 88
    print(
        f"""{bar}
FOUND BY RANDOM EXPLORATION: {finding.test}
The suite does not try this case: what is wrong may have been wrong for long.
{bar}
{finding.said}
{bar}
Found by random exploration in {finding.test}. Again with:
  {finding.command}
Mend it, and make the case a named test: other cases come with the next exploration.
{bar}""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
