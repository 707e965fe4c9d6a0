"""The command line prints through one door, and logs in one form, so that nothing slips past."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = "consumer/cli/output.py"
OTHERS = {
    "consumer/config/__main__.py": "prints what is generated from the model, for a file",
    "consumer/demo/amqtt_server.py": "says READY to the process that started it",
}
"""Print nothing of others."""

FORMS = {"consumer/logs.py"}
"""Where the lines of the log are made."""


def calls(path):
    """The names of what a module calls, as they are written there, and of what it imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.ImportFrom) and node.module in {"click", "rich", "traceback"}:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def prints(name):
    """Whether a name stands for a way to print."""
    last = name.rpartition(".")[2]
    return (
        name in {"print", "pprint", "Console"}
        or name.startswith(("click.echo", "click.secho", "click.progressbar", "click.prompt"))
        or name in {"click.confirm", "click.pause", "click.style", "rich.print", "warnings.warn"}
        or "sys.stdout" in name
        or "sys.stderr" in name
        or "sys.__std" in name
        or last in {"print_exc", "print_exception", "print_stack", "write_line"}
    )


def modules(*packages):
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.stem.endswith("_pb2"):
                yield str(path.relative_to(ROOT)), path


@pytest.mark.parametrize(
    "way",
    ["click.echo", "print", "sys.stdout.write", "Console", "traceback.print_exc"],
)
def test_ways_to_print_are_known(way):
    assert prints(way)


def test_nobody_prints_but_by_the_door():
    found = {
        (name, call)
        for name, path in modules("consumer", "zerobus_local", "sparkplug")
        for call in calls(path)
        if prints(call) and name not in {DOOR, *OTHERS, *FORMS}
    }
    assert found == set()
    for name in (DOOR, *OTHERS):
        assert any(prints(call) for call in calls(ROOT / name))


def test_nobody_gives_the_log_another_form():
    found = {
        (name, call)
        for name, path in modules("consumer", "zerobus_local")
        for call in calls(path)
        if call in {"logging.Formatter", "logging.StreamHandler"} and name not in FORMS
    }
    assert found == set()
    configuring = {
        name
        for name, path in modules("consumer", "zerobus_local")
        if "logging.basicConfig" in set(calls(path))
    }
    # The demo gives its file the lines of the log; amqtt is a process of its own.
    assert configuring == {"consumer/demo/system.py", "consumer/demo/amqtt_server.py"}


def test_json_for_people_and_programs_is_written_by_the_door():
    """What a command prints as JSON may be shown by a terminal."""
    dumping = {name for name, path in modules("consumer/cli") if "json.dumps" in set(calls(path))}
    assert dumping == {"consumer/cli/simulate.py"}  # the ledger, into a file
