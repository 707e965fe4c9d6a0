"""`sparkplug-zerobus ignition event-stream`: an Event Stream that posts to a consumer."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from consumer.cli.commands import EXIT_CONFIGURATION
from consumer.cli.ignition.reaching import gateway_options, reached
from consumer.cli.output import confirm, echo, echo_text
from consumer.config import key_problem, read_secret
from consumer.errors import (
    ConfigurationError,
    GatewayError,
    OldGatewayError,
    ResourceFileError,
)
from consumer.setup import (
    KIND,
    NAMES,
    TIMINGS,
    EventStream,
    Key,
    Timing,
    change,
    change_back,
    ingest_url,
    read_tags,
    resource_folder,
)

if TYPE_CHECKING:
    from consumer.setup import Change, Gateway, ResourceFolder

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus ignition event-stream fast --data-dir /usr/local/bin/ignition/data \\
      --project Plant --tag '[default]Line 1/**' --url http://consumer:8099 \\
      --ingest-key-on-gateway /etc/ignition/ingest.key --timing fast --dry-run
  sparkplug-zerobus ignition event-stream slow --data-dir ... --project Plant \\
      --tags-file slow-tags.txt --url https://consumer.example --ingest-key-file ingest.key \\
      --gateway https://localhost:8043 --key-file api.key
  sparkplug-zerobus ignition event-stream fast --data-dir ... --project Plant --restore
"""

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command(epilog=EXAMPLES)
@click.argument("name")
@click.option(
    "--data-dir",
    required=True,
    type=_FOLDER,
    help="The gateway's data directory, or that of a copy of it.",
)
@click.option("--project", required=True, help="A project of the gateway.")
@click.option("--tag", "tags", multiple=True, metavar="PATH", help="Such as '[default]Line 1/**'.")
@click.option("--tags-file", type=_FILE, help="File with such paths, one a line.")
@click.option("--url", help="Where the gateway finds the consumer, such as http://consumer:8099.")
@click.option(
    "--ingest-key-on-gateway",
    metavar="PATH",
    help="File on the gateway with the ingest key; read at each post.",
)
@click.option(
    "--ingest-key-file",
    type=_FILE,
    help="File with the ingest key, which is written into the project.",
)
@click.option("--no-ingest-key", is_flag=True, help="Post without a key.")
@click.option(
    "--timing",
    type=click.Choice(list(TIMINGS)),
    default="default",
    show_default=True,
    help="How long events are collected: for tags that change fast, as usual, slowly.",
)
@click.option("--debounce-ms", type=click.IntRange(0, 60_000), help="Instead of that of --timing.")
@click.option("--max-wait-ms", type=click.IntRange(1, 600_000), help="Instead of that of --timing.")
@click.option(
    "--queue",
    type=click.IntRange(1, 10_000_000),
    default=100_000,
    show_default=True,
    help="Events that wait in the gateway at most; beyond it drops the oldest.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 1_000_000),
    default=10,
    show_default=True,
    help="How often a post is tried again, after 1 s, 2 s, 4 s ... 30 s.",
)
@click.option("--disabled", is_flag=True, help="Write it so that it does not run.")
@click.option(
    "--restore",
    is_flag=False,
    flag_value="",
    metavar="[BACKUP]",
    help="Put back what was there: the newest backup, or the one that is named.",
)
@click.option("--backup-dir", type=_FOLDER, help="Instead of DATA_DIR/sparkplug-zerobus/backups.")
@gateway_options(required=False)
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--yes", is_flag=True, help="Write without asking.")
def command(*, name: str, **given: Any) -> int:
    """Write the Event Stream NAME, which posts tag changes to /ingest/batch of a consumer.

    For Ignition 8.3 and later, on the gateway's machine. What is there is kept in a backup, and
    changed key by key: what is not known here stays. The difference is shown before. Writing the
    same again changes nothing.

    Never tried on a live gateway: see docs/event-streams.md.
    """
    folder = resource_folder(given["data_dir"], given["project"], KIND, name, given["backup_dir"])
    before = folder.read(*NAMES)
    now = time.time()
    if given["restore"] is not None:
        todo = change_back(before, folder.kept(given["restore"]))
        secret = True  # it is not known what was in there
    else:
        stream = _stream(name, given)
        todo = change(stream, before, now)
        secret = bool(stream.key.text)
    gateway = _gateway(given)
    for note in todo.notes:
        echo(f"note: {note}", err=True)
    if not todo.after:
        echo(f"{folder.path} is as it should be: nothing to write", err=True)
    elif not _is_wanted(folder, todo, given):
        return 0 if given["dry_run"] else EXIT_CONFIGURATION
    else:
        _write(folder, todo, now, secret=secret)
    if not given["dry_run"]:
        _tell(gateway, is_new=before[NAMES[0]] is None)
    return 0


def _is_wanted(folder: ResourceFolder, todo: Change, given: dict[str, Any]) -> bool:
    """Show what is to be written, and ask.

    Raises:
        ResourceFileError: somebody has changed it meanwhile.
    """
    echo_text(todo.difference())
    if given["dry_run"]:
        echo("nothing was written: --dry-run", err=True)
        return False
    if not given["yes"] and not confirm(f"write this to {folder.path}?"):
        echo("nothing was written: --yes writes without asking", err=True)
        return False
    if folder.read(*NAMES) != todo.before:
        raise ResourceFileError(
            f"{folder.path} was changed while this waited for an answer: nothing was written; look "
            "at the difference again"
        )
    return True


def _write(folder: ResourceFolder, todo: Change, now: float, *, secret: bool) -> None:
    backup = folder.write(todo.after, now, secret=secret)
    echo(f"written: {folder.path}", err=True)
    echo(f"what was there: --restore {backup.name} (in {backup})", err=True)


def _gateway(given: dict[str, Any]) -> Gateway | None:
    """The gateway that is to be told; it is asked before anything is written.

    Raises:
        GatewayError: it cannot be asked, is older than Event Streams, or refuses the key.
    """
    if not given["gateway"]:
        if given["key_file"] or given["ca_file"]:
            raise click.UsageError("--key-file and --ca-file are for --gateway")
        return None
    gateway = reached(*(given[each] for each in ("gateway", "key_file", "ca_file", "timeout")))
    try:
        gateway.info()
    except OldGatewayError as error:
        raise GatewayError(
            f"{gateway.url} is Ignition {error.version or 'before 8.3'}: Event Streams begin with "
            "8.3; nothing was written"
        ) from None
    return gateway


def _tell(gateway: Gateway | None, *, is_new: bool) -> None:
    """Let the gateway read its projects."""
    if gateway is None:
        echo(
            "the gateway reads it when it looks at its projects: --gateway tells it to, or save "
            "something in the Designer",
            err=True,
        )
        return
    gateway.scan("projects")
    echo("the gateway was told to read its projects", err=True)
    if is_new:
        echo("a new Event Stream may need that a second time: call this again", err=True)


def _stream(name: str, given: dict[str, Any]) -> EventStream:
    """What the command line asks for."""
    if not given["url"]:
        raise click.UsageError("--url says where the gateway finds the consumer")
    url = ingest_url(given["url"])
    preset = TIMINGS[given["timing"]]
    timing = Timing(
        preset.debounce_ms if given["debounce_ms"] is None else given["debounce_ms"],
        preset.max_wait_ms if given["max_wait_ms"] is None else given["max_wait_ms"],
    )
    if timing.debounce_ms > timing.max_wait_ms:
        raise click.UsageError(
            f"a debounce of {timing.debounce_ms} ms is longer than the {timing.max_wait_ms} ms "
            "that an event waits at most: give --max-wait-ms, too"
        )
    key = _key(given)
    if (key.path or key.text) and url.startswith("http:") and not _is_loopback(url):
        echo("note: with http:// the key can be read on the way; https:// hides it", err=True)
    return EventStream(
        name,
        read_tags(_lines(given)),
        url,
        key,
        timing,
        given["queue"],
        given["retries"],
        enabled=not given["disabled"],
    )


def _lines(given: dict[str, Any]) -> list[str]:
    lines = list(given["tags"])
    if given["tags_file"] is not None:
        try:
            lines += given["tags_file"].read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--tags-file {given['tags_file']}: {error}") from None
    return lines


def _key(given: dict[str, Any]) -> Key:
    ways = ("ingest_key_on_gateway", "ingest_key_file", "no_ingest_key")
    if sum(bool(given[each]) for each in ways) != 1:
        raise click.UsageError(
            "say where the ingest key is: --ingest-key-on-gateway (kept out of the project), "
            "--ingest-key-file (written into it), or --no-ingest-key"
        )
    if given["no_ingest_key"]:
        return Key()
    if given["ingest_key_on_gateway"]:
        return Key(path=given["ingest_key_on_gateway"])
    try:
        text = read_secret(given["ingest_key_file"])
    except ValueError as error:
        raise ConfigurationError(f"--ingest-key-file: the file {error}") from None
    if problem := key_problem(text):
        raise ConfigurationError(f"--ingest-key-file: the key in it {problem}")
    echo(
        "warning: the key will lie in the project: in its files, its backups and exports, and for "
        "everybody who opens it in the Designer; --ingest-key-on-gateway keeps it out",
        err=True,
    )
    return Key(text=text)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
