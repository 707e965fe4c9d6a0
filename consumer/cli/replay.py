"""`sparkplug-zerobus replay`: a captured file again, as rows or onto an MQTT server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from pydantic import ValidationError

from consumer import config
from consumer.cli.output import echo, forget_stdout
from consumer.cli.progress import Bar
from consumer.cli.row_files import FORMATS, row_file
from consumer.cli.stopping import Stop
from consumer.config import Server, TlsSection, read_secret
from consumer.errors import CaptureError, ConfigurationError, TlsFileError
from consumer.tap import (
    CaptureReader,
    Capturing,
    Publishing,
    Replay,
    ReplaySettings,
    check_free,
    is_loopback,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.config import Configuration
    from consumer.tap import Record, Replayed

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus replay wire.spz
  sparkplug-zerobus replay wire.spz --config plant.yaml --format csv > rows.csv
  sparkplug-zerobus replay wire.spz --format parquet --output rows.parquet
  sparkplug-zerobus replay wire.spz --redacted for-support.spz
  sparkplug-zerobus replay wire.spz --to mqtt://127.0.0.1:1883
  sparkplug-zerobus replay wire.spz --to mqtt://127.0.0.1:1883 --pace max
"""

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_FASTEST: Final = 10_000.0
_TLS_OPTIONS: Final = {
    "tls.ca_file": "--ca-file",
    "tls.cert_file": "--cert-file",
    "tls.key_file": "--key-file",
}
_OPTIONS: Final = {
    "url": "--to",
    "username": "--username",
    "password": "--password-file",
    "protocol": "--protocol",
    "tls": "--ca-file, --cert-file, --key-file",
    **{name.removeprefix("tls."): option for name, option in _TLS_OPTIONS.items()},
}


def _pace(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """How many times as fast; 0 for `max`."""
    if text is None:
        return None
    if text == "max":
        return 0.0
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace <= _FASTEST:
        raise click.BadParameter(f"must be max, or a number up to {_FASTEST:g}")
    return pace


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="Of the rows: one JSON object per line (default), CSV, or Parquet.",
)
@click.option("--output", type=_FILE, help="Write the rows here, not on stdout; a new file.")
@click.option(
    "--config",
    "config_path",
    type=_FILE,
    help="Configuration of the consumer that is to be repeated: servers by their names, "
    "normalize, host, limits. Default: its defaults, and the sites of the capture.",
)
@click.option("--site", help="Site of all servers; part of event_id.")
@click.option(
    "--redacted",
    "copy",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Write a redacted copy of the capture instead, as `capture --redact` would have.",
)
@click.option(
    "--to", "target", metavar="URL", help="Publish on this MQTT server instead; no rows are made."
)
@click.option(
    "--pace",
    callback=_pace,
    metavar="N",
    help="With --to: N times as fast as it came, or max. Default: 1.",
)
@click.option("--yes", is_flag=True, help="With --to: also on a server of another machine.")
@click.option("--username", help="With --to: user name.")
@click.option("--password-file", type=_FILE, help="With --to: file that holds the password.")
@click.option("--ca-file", type=_FILE, help="With --to: certificate authority for mqtts://.")
@click.option("--cert-file", type=_FILE, help="With --to: client certificate for mqtts://.")
@click.option("--key-file", type=_FILE, help="With --to: key of the client certificate.")
@click.option(
    "--protocol", type=click.Choice(["5", "3.1.1"]), help="With --to: MQTT version. Default: 5."
)
def command(
    *,
    file: Path,
    kind: str | None,
    output: Path | None,
    config_path: Path | None,
    site: str | None,
    copy: Path | None,
    **publishing: Any,
) -> int:
    """Read a captured FILE again, through the same decoder: rows of tag_events.

    The rows have the event ids that they have in the table of a consumer with this
    configuration, which was there from the beginning of the capture on. Time is that of the
    capture. Files that continue FILE are read, too.

    With --redacted NEW a copy without names and texts is written instead, for those outside the
    plant: in it numbers, times and structure are the same.

    With --to URL the messages are published on an MQTT server instead. That makes edge nodes that
    are none: whoever listens there takes what was for what is. So a server of another machine
    needs --yes.

    Ends with 0 when all was read, with 1 when the file is no capture, damaged or cut off (what
    can be read of it was read), when the output cannot be written, or the server cannot be
    connected or refuses; 2 for what is wrong in the command line or the configuration; 130
    after Ctrl-C.
    """
    rows = {"--format": kind, "--output": output, "--site": site, "--config": config_path}
    names = {f"--{name.replace('_', '-')}": value for name, value in publishing.items()}
    target = names.pop("--target")
    if target is not None:
        _refuse({**rows, "--redacted": copy}, "does not go with --to: no rows are made then")
        return _publish(file, **publishing)
    _refuse(names, "needs --to, a server to publish on")
    if copy is not None:
        _refuse(rows, "does not go with --redacted: no rows are made then")
        return _redact(file, copy)
    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    if output is not None and output.exists():
        raise click.UsageError(f"{output} exists: give another name")
    configuration = None
    if config_path is not None:
        configuration = config.load(config_path, os.environ, secrets=False)
    return _print_rows(file, kind or "json", output, configuration, site)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value not in {None, False}:
            raise click.UsageError(f"{name} {why}")


# ------------------------------------------------------------------ rows


def _print_rows(
    file: Path,
    kind: str,
    output: Path | None,
    configuration: Configuration | None,
    site: str | None,
) -> int:
    with CaptureReader(file) as reader, Stop() as stop:
        replay = Replay(ReplaySettings.of(reader.header, configuration, site))
        try:
            with (
                row_file(kind, output) as rows,
                Bar(reader.total_bytes, rows_on_stdout=output is None) as bar,
            ):
                for batch in replay.rows(_until(reader.records(), stop)):
                    rows.write(batch)
                    bar.show(reader.read_bytes, f"{replay.made:,} rows")
        except BrokenPipeError:  # whoever read them has what was wanted
            forget_stdout()
            return 0
        finally:
            _tell(replay.result, reader)
        return stop.exit_code


def _until(records: Iterator[Record], stop: Stop) -> Iterator[Record]:
    for record in records:
        if stop.wanted.is_set():
            return
        yield record


def _tell(result: Replayed, reader: CaptureReader) -> None:
    """Say on stderr what came of it."""
    redacted = ", redacted" if reader.header.redacted else ""
    echo(
        f"{result.messages:,} messages (by {reader.header.product}{redacted}) gave "
        f"{result.rows:,} rows",
        err=True,
    )
    if result.remarks:
        found = ", ".join(f"{name} {count:,}" for name, count in result.remarks.most_common())
        echo(f"remarks: {found}", err=True)
    if result.waiting or result.unreadable:
        echo(
            f"{result.waiting:,} messages wait for a birth, {result.unreadable:,} could not be "
            "read, or were given up",
            err=True,
        )
    if reader.left_out:
        echo(f"{reader.left_out:,} messages came and were not captured", err=True)


# ------------------------------------------------------------------ redacted


def _redact(file: Path, copy: Path) -> int:
    try:
        check_free(copy)
    except CaptureError as error:
        raise click.UsageError(str(error)) from None
    with CaptureReader(file) as reader, Stop() as stop:
        copying = Capturing(copy, reader.header.servers, redact=True)
        try:
            with copying.writer, Bar(reader.total_bytes) as bar:
                for record in _until(reader.records(), stop):
                    copying.copy(record)
                    bar.show(reader.read_bytes, f"{copying.messages:,} messages")
                copying.writer.leave_out(reader.left_out)
        finally:
            echo(
                f"{copying.messages:,} messages redacted into {copy}, of which {copying.unread:,} "
                "could not be read, and became random bytes",
                err=True,
            )
        return stop.exit_code


# ------------------------------------------------------------------ onto a server


def _publish(file: Path, *, target: str, pace: float | None, yes: bool, **access: Any) -> int:
    server = _server(target, **access)
    if not yes and not is_loopback(server.host):
        raise click.UsageError(
            f"{server.url} is another machine: whoever listens there would take what was for "
            "what is; --yes says that this is meant"
        )
    try:
        connection = Publishing(server)
    except TlsFileError as error:
        raise ConfigurationError(f"{_TLS_OPTIONS[error.key]}: {error.what}") from None
    with CaptureReader(file) as reader, connection as publishing, Stop() as stop:
        try:
            with Bar(reader.total_bytes) as bar:
                records = _shown(reader, publishing, bar)
                publishing.publish(records, 1.0 if pace is None else pace, stop.wanted)
        finally:
            _tell_published(publishing, server)
        return stop.exit_code


def _shown(reader: CaptureReader, publishing: Publishing, bar: Bar) -> Iterator[Record]:
    for record in reader.records():
        bar.show(reader.read_bytes, f"{publishing.published:,} messages published")
        yield record


def _tell_published(publishing: Publishing, server: Server) -> None:
    echo(f"{publishing.published:,} messages published on {server.url}", err=True)
    if publishing.left_out:
        found = ", ".join(f"{why} {n:,}" for why, n in publishing.left_out.most_common())
        echo(f"left out: {found}", err=True)


def _server(
    url: str,
    *,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    protocol: str | None,
) -> Server:
    password = ""
    if password_file is not None:
        try:
            password = read_secret(password_file)
        except ValueError as error:
            raise ConfigurationError(f"--password-file: the file {error}") from None
    try:
        tls = TlsSection(
            ca_file=str(ca_file or ""), cert_file=str(cert_file or ""), key_file=str(key_file or "")
        )
        return Server(
            name="replay",
            url=url,
            username=username or "",
            password=password,  # type: ignore[arg-type]
            protocol=protocol or "5",  # type: ignore[arg-type]
            tls=tls,
        )
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        problem = first.get("ctx", {}).get("error")
        key = getattr(problem, "key", None) or next(iter(first["loc"]), "tls")
        option = _OPTIONS.get(str(key), _OPTIONS["tls"])
        raise ConfigurationError(f"{option}: {problem or first['msg']}") from None
