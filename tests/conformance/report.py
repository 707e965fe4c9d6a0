"""Runs the conformance tests and writes docs/conformance.md from what came out.

PYTHONPATH=tests python -m conformance.report [options of pytest]
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from support.services import mosquitto_binary

from conformance.assertions import PROPERTY, Kind
from conformance.tck_ids import ALL_IDS, LISTS

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parent.parent / "docs" / "conformance.md"

PASSED: Final = "passed"
NOT_RUN: Final = "not run"

_INTRODUCTION: Final = """\
# Conformance with the Sparkplug specification

Every assertion of the Eclipse Sparkplug specification 3.0 (ISO/IEC 20237:2023) about host
applications, with the test that checks it. `make conformance` runs the tests in
`tests/conformance/` and writes this page from what came out; they are also part of
`make test`. Each test case is named by the assertion's id:

```console
pytest tests/conformance -k host-topic-phid-birth-qos
```

The host under test is `sparkplug-zerobus run` as a process, with a real MQTT server, a local
Zerobus server and a Delta table. Between it and the server a proxy records the MQTT packets of
both sides; subscribers of MQTT 5 and 3.1.1 look on; edge nodes are simulated.

## What this page does not say

- **The official Technology Compatibility Kit (TCK) was not run**, and nothing here is a
  certification. The lists of ids are those of its tests for host applications; what is
  checked for each is this project's reading, and no more than the column says.
- The tests ran with one server: {server}. How the host begins and ends sessions and
  asks for rebirths was checked over MQTT 5 and over MQTT 3.1.1, all else over MQTT 5.
- Rules of the specification that have no id are not here.

## Result

{summary}

| binds | assertions | what the test can show |
|---|---|---|
{kinds}
"""

_KINDS: Final = {
    Kind.HOST: "the host itself: what it does",
    Kind.EDGE: "edge nodes: what the host does with those that keep it, or with those that do not",
    Kind.NOT_APPLICABLE: "something this host never does: that it does not",
}


class Result(NamedTuple):
    """One row of the page."""

    tck_id: str
    kind: str
    seen: str
    text: str
    outcome: str

    def __str__(self) -> str:
        text = self.text.replace("|", "\\|")
        return f"| `{self.tck_id}` | {self.kind} | {text} | {self.seen} | {self.outcome} |"


class Collector:
    """A pytest plugin that keeps what the tests of assertions came out with."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test; only if all phases pass has the test passed."""
        for name, note in report.user_properties:
            if name == PROPERTY and isinstance(note, dict):
                result = Result(
                    note["id"], note["kind"], note["seen"], note["text"], report.outcome
                )
                known = self.results.get(result.tck_id)
                if known is None or known.outcome == PASSED:
                    self.results[result.tck_id] = result


def page(results: Mapping[str, Result], server: str) -> str:
    """The text of docs/conformance.md."""
    outcomes = Counter(
        results[tck_id].outcome if tck_id in results else NOT_RUN for tck_id in ALL_IDS
    )
    summary = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    by_kind = Counter(each.kind for each in results.values())
    kinds = "\n".join(
        f"| {kind} | {by_kind[kind.value]} | {text} |" for kind, text in _KINDS.items()
    )
    parts = [
        _INTRODUCTION.format(
            server=server,
            summary=f"{len(ALL_IDS)} assertions: {summary}. Those that two tests of the kit list "
            "appear twice below.",
            kinds=kinds,
        )
    ]
    for name, ids in LISTS.items():
        rows = [results.get(tck_id, Result(tck_id, "", "", "", NOT_RUN)) for tck_id in ids]
        parts.append(
            f"## {name}\n\n"
            "| assertion | binds | what is checked | where | result |\n|---|---|---|---|---|\n"
            + "\n".join(map(str, rows))
            + "\n"
        )
    return "\n".join(parts)


def rows_of(text: str) -> dict[str, list[Result]]:
    """The rows of a page, by the kit's test."""
    found: dict[str, list[Result]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(.+?)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
        if rows:
            found[section.partition("\n")[0]] = [
                Result(tck_id, kind, seen, checked.replace("\\|", "|"), outcome)
                for tck_id, kind, checked, seen, outcome in rows
            ]
    return found


def _server() -> str:
    answer = subprocess.run(
        [mosquitto_binary(), "-h"], capture_output=True, text=True, check=False, timeout=10
    )
    [version] = re.findall(r"mosquitto version (\S+)", answer.stdout)
    return f"Eclipse Mosquitto {version}"


def main(arguments: list[str]) -> int:
    """Run the tests, write the page; 0 if every assertion was checked and held."""
    collector = Collector()
    # What compares this page with the tests has to wait until it is written.
    options = [str(HERE), f"--ignore={HERE / 'test_page.py'}", "--dist", "loadfile"]
    code = pytest.main([*options, *arguments], plugins=[collector])
    PAGE.write_text(page(collector.results, _server()), encoding="utf-8")
    held = sum(each.outcome == PASSED for each in collector.results.values())
    print(f"{held} of {len(ALL_IDS)} assertions hold: {PAGE}", file=sys.stderr)  # noqa: T201
    return 0 if held == len(ALL_IDS) else int(code) or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
