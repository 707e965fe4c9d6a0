"""What the shell completes, with the line that README has for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
PROGRAM = Path(sys.executable).with_name("sparkplug-zerobus")


def completed(*words):
    """What the shell is given for the last word of a line."""
    line = " ".join(["sparkplug-zerobus", *words])
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    found = subprocess.run(
        [PROGRAM],
        env={**os.environ, **asked, "_SPARKPLUG_ZEROBUS_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [each.partition(",")[2] for each in found.stdout.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dri"], ["drill"]),
        (["re"], ["rebirth", "resume", "replay"]),
        (["tail", "--qu"], ["--quality"]),
        (["tail", "--quality", "st"], ["stale"]),
        (["deadletter", "re"], ["retry"]),
    ],
)
def test_commands_options_and_their_values_are_completed(words, expected):
    assert completed(*words) == expected


def test_the_line_of_the_readme_makes_bash_complete():
    bash = shutil.which("bash")
    assert bash
    line = next(each for each in README.read_text().splitlines() if "bash_source" in each)
    evaluated = line[line.index("eval") : line.index("`", line.index("eval"))]
    found = subprocess.run(
        [bash, "-c", f"{evaluated}; complete -p sparkplug-zerobus"],
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sparkplug_zerobus_completion" in found.stdout
