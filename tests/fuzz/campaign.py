"""Campaigns: a target, an engine and a time, in a process of its own.

The process may end in any way, also without a word: the input that it was busy with is what
the notebook holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from support import peer_environments

TESTS: Final = Path(__file__).parents[1]
CORPUS: Final = Path(__file__).with_name("corpus")
_GRACE: Final = 90.0
"""Seconds beyond its time that a campaign may take, to start and to shorten what failed."""


class Outcome(NamedTuple):
    """What a campaign found: how many inputs were tried; the input that failed, and why."""

    tried: int
    failed: bytes | None = None
    why: str = ""


def run(
    target: str,
    engine: str,
    seconds: float,
    *,
    inputs: int | None = None,
    seed: int = 0,
    replayed: Path | None = None,
) -> Outcome:
    """Run one campaign.

    Args:
        target: a name of `fuzz.targets.TARGETS`, or `module:attribute`.
        engine: mutation, hypothesis (target `orders` only), atheris, or replay.
        seconds: how long to make inputs.
        inputs: how many to make at most, so that a run is the same on every machine; stories
            of the engine hypothesis. Not for atheris.
        seed: of what is random.
        replayed: the input to try, for the engine replay.

    Raises:
        UnavailableError: atheris is not to be had here.
        RuntimeError: the process ended before it tried an input.
    """
    paths = [str(TESTS), str(TESTS.parent)]
    if engine == "atheris":
        paths.append(str(peer_environments.packages_of("atheris")))
    if previous := os.environ.get("PYTHONPATH"):
        paths.append(previous)
    with tempfile.TemporaryDirectory() as directory:
        notebook = Path(directory) / "input"
        order = {
            "target": target,
            "engine": engine,
            "seconds": seconds,
            "inputs": inputs,
            "seed": seed,
            "notebook": str(notebook),
            "corpus": str(Path(directory) / "corpus"),
            "input": str(replayed),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "fuzz.engines", json.dumps(order)],
                check=False,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds + _GRACE,
            )
            code, said = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            code, said = -1, f"the process did not end in time\n{error.stderr!r}"
        count = notebook.with_suffix(".count")
        tried = int.from_bytes(count.read_bytes(), "big") if count.exists() else 0
        if code == 0:
            return Outcome(tried)
        why = f"exit code {code}\n{said[-6000:]}"
        if not tried:
            raise RuntimeError(f"no input was tried: {why}")
        return Outcome(tried, notebook.read_bytes(), why)


def keep(target: str, failed: bytes) -> Path:
    """Write an input that failed to the corpus, where the test suite replays it."""
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / hashlib.sha256(failed).hexdigest()[:16]
    file.write_bytes(failed)
    return file
