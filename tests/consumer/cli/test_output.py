"""What is printed and logged: nothing of others steers the terminal or begins a line."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import click
import pytest
from rich.table import Table
from rich.text import Text
from support.participants import Writes
from support.program import run
from support.spool_command import run_command

from consumer.cli import output
from consumer.logs import JsonLines, TextLines
from consumer.spool import Spool
from consumer.spool.fleet import FleetStore
from sparkplug.messages import Message, Quarantined, Reason

FOREIGN = "A\x1b[2J\x07\u202eB\u2028C\x9d\nfail \ud800 [red]x[/red] [link=http://x]y[/link]"
SHOWN = r"A\x1b[2J\x07\u202eB\u2028C\x9d\nfail \ud800 [red]x[/red] [link=http://x]y[/link]"


def test_a_line_is_a_line_whatever_it_quotes(capsys):
    output.echo(FOREIGN)
    output.echo(FOREIGN, err=True)
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")


def test_a_text_keeps_the_lines_that_we_made(capsys):
    output.echo_text("one\n\x1btwo\n")
    assert capsys.readouterr().out == "one\n\\x1btwo\n"


def test_json_is_exact(capsys):
    output.echo_json({"id": FOREIGN, "\x7f": 1})
    out = capsys.readouterr().out
    assert json.loads(out) == {"id": FOREIGN, "\x7f": 1}
    assert out.removesuffix("\n").isprintable()


def test_tables_are_as_wide_as_what_is_shown_in_them(capsys):
    table = Table(title=FOREIGN)
    table.add_column("id", overflow="fold")
    table.add_column("n")
    for cell in ("\x1b[2J\u202e", "[red]x[/red]", Text("\x07\u202e")):
        table.add_row(cell, "1")
    console = output.console(width=120)
    console.print(table)
    console.print("\x1b[2J", Text("\u202e"), style="bold", soft_wrap=True)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    rows = [line for line in lines if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows[:2]] == [r"\x1b[2J\u202e", "[red]x[/red]"]
    assert len({len(row) for row in rows[:2]}) == 1
    assert r"\x1b[2J \u202e" in lines


def test_an_encoding_without_a_letter_gets_its_number(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", "from consumer.cli.output import echo; echo('Ü \\u6e29')"],
        env={"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert told.stdout == b"\xdc \\u6e29\n"


def test_a_wrong_command_line_is_quoted_without_its_controls():
    for arguments in (["\x1b[2J\u202e"], ["gaps", "--since", "\x1b[2J"], ["run", "--\x1b[2J"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert "\\x1b[2J" in done.stderr
        assert not set(done.stderr) & {"\x1b", "\u202e"}


def test_a_configuration_is_quoted_without_its_controls(tmp_path):
    path = tmp_path / "a\u202eb.yaml"
    path.write_text("log: {level: x, 'k\\e[2J': 1}\n")
    done = run("ddl", "--config", str(path))
    assert done.returncode == 2
    assert "a\\u202eb.yaml" in done.stderr
    assert done.stderr.removesuffix("\n").isprintable()


def test_a_defect_is_told_without_what_it_quotes_steering_the_terminal():
    program = (
        "import threading\nfrom consumer.cli.output import show_defects\nshow_defects()\n"
        "def fail(): raise ValueError('\\x1b[2J\\n2026-11-30T00:00:00Z info all well\\u202e')\n"
        "thread = threading.Thread(target=fail)\nthread.start()\nthread.join()\nfail()"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    lines = told.stderr.decode().splitlines()
    assert told.returncode == 1
    assert lines.count("Error: an unexpected error; this is a defect:") == 2
    assert sum("ValueError: \\x1b[2J" in line for line in lines) == 2
    assert not any(line.startswith("2026") for line in lines)
    assert all(line.isprintable() for line in lines)


def fail(text):
    raise ValueError(text)


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()])
def test_a_traceback_in_the_log_begins_no_line_of_others(formatter):
    try:
        fail(f"{FOREIGN}\n2026-11-30T00:00:00.000Z info    all is well")
    except ValueError:
        record = logging.makeLogRecord(
            {"msg": "%s", "args": (FOREIGN,), "levelname": "ERROR", "exc_info": sys.exc_info()}
        )
    record.group_id = FOREIGN
    lines = formatter.format(record).split("\n")
    assert all(line.isprintable() for line in lines)
    if isinstance(formatter, JsonLines):
        [line] = lines
        assert json.loads(line)["group_id"] == json.loads(line)["message"] == FOREIGN
        assert "all is well" in json.loads(line)["exception"]
    else:
        assert lines[0].endswith(f" error   {SHOWN}")
        assert all(line.startswith("  ") for line in lines[1:])


def test_ids_of_publishers_are_listed_one_a_line(tmp_path):
    topic = "spBv1.0/A\u202e\u2028\x1b[2J/NDATA/B\nrow-1 all is well"
    dead = [Quarantined(Message(topic, b"", 7), Reason.BAD_PAYLOAD)]
    spool = Spool.open(tmp_path / "spool.db")
    spool.commit(
        [], [Writes(lambda db: FleetStore("plant-a", 1 << 30).write_dead(db, dead, 1 << 30))]
    )
    spool.close()
    done = run_command(tmp_path, "deadletter", "list")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.isprintable()
    assert r"spBv1.0/A\u202e\u2028\x1b[2J/NDATA/B\nrow-1" in line
    done = run_command(tmp_path, "deadletter", "list", "--json")
    assert json.loads(done.stdout)["where"].endswith(topic)
    assert done.stdout.removesuffix("\n").isprintable()


def test_click_itself_prints_no_foreign_text(capsys):
    output.show_refusal(click.UsageError("no such thing: \x1b[2J"))
    assert capsys.readouterr().err == "Error: no such thing: \\x1b[2J\n"


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()])
def test_a_topic_as_long_as_may_be_makes_no_line_of_that_length(formatter):
    topic = "\x01" * 65_535
    record = logging.LogRecord("l", logging.WARNING, "", 1, "example on %s", (topic,), None)
    record.edge_node_id = topic
    line = formatter.format(record)
    assert len(line) < 60_000
    assert line.isascii()
    assert "(61546 characters more)" in line


def test_a_traceback_that_quotes_others_is_cut_as_well():
    try:
        raise ValueError("x" * 100_000)  # noqa: TRY301
    except ValueError:
        record = logging.LogRecord("l", logging.ERROR, "", 1, "lost", (), sys.exc_info())
    for formatter in (TextLines(), JsonLines()):
        assert len(formatter.format(record)) < 25_000


def test_lines_are_escaped_where_they_are_printed_too(capsys):
    printer = output.LinePrinter()
    assert not printer.is_terminal
    assert printer.width is None
    printer.show([[("A", "red"), ("\x1b[2J", "")], [("B", "")]])
    printer.show([])
    assert capsys.readouterr().out == "A\\x1b[2J\nB\n"


def test_there_is_no_progress_where_nobody_looks(capsys):
    with output.progress() as tell:
        tell("1 of 2")
    assert capsys.readouterr() == ("", "")


def test_a_full_disk_behind_stdout_is_said_in_one_line():
    printing = (
        "from consumer.cli.output import echo; import click; click.command()(lambda: echo('x'))()"
    )
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", printing],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: stdout cannot be written: No space left on device\n",
    )
