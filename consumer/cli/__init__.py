"""The `sparkplug-zerobus` command. Each subcommand lives in a module of its own name."""

from consumer.cli.commands import main

__all__ = ["main"]
