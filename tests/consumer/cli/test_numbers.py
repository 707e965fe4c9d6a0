"""Numbers on the command line are numbers."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import consumer.cli
from consumer.cli.options import Number


@click.command()
@click.option("--seconds", type=Number(1, 120))
def command(seconds):
    click.echo(f"{seconds}")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "0", "121", "ten"])
def test_what_is_no_number_within_the_bounds_is_refused(value):
    refused = CliRunner().invoke(command, ["--seconds", value])
    assert refused.exit_code == 2
    assert "--seconds" in refused.output


def test_a_number_within_the_bounds_is_taken():
    assert CliRunner().invoke(command, ["--seconds", "1.5"]).output == "1.5\n"


def test_no_command_takes_a_number_that_has_no_end():
    sources = Path(consumer.cli.__file__).parent.rglob("*.py")
    taking = [
        path.name
        for path in sources
        if path.name != "options.py"
        and any(t in path.read_text() for t in ("FloatRange", "type=float"))
    ]
    assert taking == []
