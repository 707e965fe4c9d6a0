"""The commands by name, and what their errors become: the documented exit codes.

Modules are imported when their command is called, so that `--help` is instant and
a laptop without the local server's libraries can still run the consumer.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from consumer.cli.output import echo, show_defects, show_refusal
from consumer.errors import ConfigurationError, SparkplugZerobusError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

# Command -> (module, one line of help). Shown in this order.
COMMANDS = {
    "run": ("consumer.cli.run", "Run the consumer until stopped."),
    "demo": ("consumer.cli.demo", "Run the whole system on real parts and verify what landed."),
    "check": ("consumer.cli.check", "Connect everything; say what is wrong and how to mend it."),
    "ddl": ("consumer.cli.ddl", "Print CREATE TABLE, grants, and views of the latest values."),
    "databricks": ("consumer.cli.databricks", "Prepare a workspace, check it, compare with it."),
    "deadletter": ("consumer.cli.deadletter", "List, show, retry, drop what was not delivered."),
    "gaps": ("consumer.cli.gaps", "How complete the messages of each edge node are."),
    "top": ("consumer.cli.top", "Show servers and edge nodes of the running consumer, live."),
    "rebirth": ("consumer.cli.rebirth", "Ask an edge node for its births."),
    "pause": ("consumer.cli.pause", "Send nothing to Zerobus for a while."),
    "resume": ("consumer.cli.resume", "Send to Zerobus again."),
    "drain": ("consumer.cli.drain", "Send all that waits, at once."),
    "drill": ("consumer.cli.drill", "See which edge nodes keep data while the host is offline."),
    "ledger": ("consumer.cli.ledger", "Say what became of every message and row."),
    "tail": ("consumer.cli.tail", "Show what comes over the wire, beside a running consumer."),
    "capture": ("consumer.cli.capture", "Write raw messages with their times into a file."),
    "replay": ("consumer.cli.replay", "Read a captured file again, as rows or onto a server."),
    "ignition": ("consumer.cli.ignition", "Prepare Ignition gateways."),
    "simulate": ("consumer.cli.simulate", "Publish as simulated gateways."),
    "local-zerobus": ("consumer.cli.local_zerobus", "Run the local Zerobus server."),
}

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 2
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A command group whose commands are imported on use.

    Args:
        lazy: name of each command -> (module with its `command`, one line of help), in the
            order in which they are listed.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were given, not of the alphabet."""
        del ctx
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        del ctx
        if cmd_name not in self._lazy:
            return None
        command = _imported(self._lazy[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._lazy.items()])


def _imported(name: str) -> ModuleType:
    """The module of a command, with its libraries.

    What is imported stays to the end: to look for garbage in it, now and later, would take a
    quarter of the start and of the stop. And nobody needs the threads, one for each core, that
    numpy would start for linear algebra.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try: sparkplug-zerobus demo",
)
@click.version_option(package_name="sparkplug-zerobus")
def cli() -> None:
    """Stream MQTT Sparkplug B into Databricks Delta tables through Zerobus Ingest."""


def main() -> NoReturn:
    """Entry point of the console script: maps errors to the documented exit codes."""
    show_defects()
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = EXIT_INTERRUPTED
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        show_refusal(error)
        code = error.exit_code
    except ConfigurationError as error:
        echo(f"Error: {error}", err=True)
        code = EXIT_CONFIGURATION
    except SparkplugZerobusError as error:
        echo(f"Error: {error}", err=True)
        code = EXIT_FAILURE
    sys.exit(code if isinstance(code, int) else 0)
