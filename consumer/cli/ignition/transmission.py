"""`sparkplug-zerobus ignition transmission`: MQTT Transmission, set up for this consumer."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from consumer import config
from consumer.cli.commands import EXIT_CONFIGURATION, EXIT_FAILURE
from consumer.cli.ignition.reaching import gateway_options, reached
from consumer.cli.options import Number, config_option
from consumer.cli.output import confirm, echo, echo_text
from consumer.errors import ConfigurationError, GatewayError, ResourceChangedError
from consumer.network import one_line
from consumer.setup import (
    TYPES,
    Wishes,
    flush_since_saved,
    plan_transmission,
    server_fields,
    transmission_script,
    write_resource_files,
    write_step,
)

if TYPE_CHECKING:
    from consumer.setup import Flush, Gateway, Plan

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus ignition transmission --config consumer.yaml --gateway https://gateway:8043 \\
      --key-file ignition.key --server plant --secret-provider vault --secret-name mqtt --dry-run
  sparkplug-zerobus ignition transmission --config consumer.yaml --gateway https://gateway:8043 \\
      --key-file ignition.key --files resources
  sparkplug-zerobus ignition transmission --config consumer.yaml --server plant --script
"""
_TRIES: Final = 4
_PAUSE: Final = 1.0
_PLACES: Final = {
    "group": "groupId",
    "node": "edgeNodeId",
    "device": "deviceId",
    "tag_provider": "tagProvider",
    "tag_path": "tagPath",
    "pacing_ms": "tagPacingPeriod",
}


@click.command(epilog=EXAMPLES)
@config_option("Configuration file, for host.id and servers; its secrets are not read.")
@gateway_options(required=False)
@click.option("--server", metavar="NAME", help="Server of the configuration to connect to.")
@click.option("--mqtt-url", metavar="URL", help="The same as the gateway reaches it, if otherwise.")
@click.option("--username", help="User name there, if another than the consumer's.")
@click.option("--secret-provider", metavar="NAME", help="Of the gateway, with the MQTT password.")
@click.option("--secret-name", metavar="NAME", help="Of the password within it.")
@click.option(
    "--name",
    default="sparkplug-zerobus",
    show_default=True,
    help="Of all resources that are not named below.",
)
@click.option("--store-name", help="History store, which may exist.")
@click.option("--set-name", help="Server set, which may exist.")
@click.option("--server-name", help="Server, which may exist.")
@click.option("--transmitter-name", help="Transmitter, which may exist.")
@click.option(
    "--store-type",
    type=click.Choice(["disk", "keep"]),
    default="disk",
    show_default=True,
    help="Keep history on disk, or as the store has it.",
)
@click.option("--group", help="Group id; else the folders of tags say it.")
@click.option("--node", help="Edge node id; else the folders of tags say it.")
@click.option("--device", help="Device id; else the folders of tags say it.")
@click.option("--tag-provider", help="Provider of the tags.")
@click.option("--tag-path", help="Folder of the tags.")
@click.option("--pacing-ms", type=click.IntRange(0, 600_000), help="Collect changes for so long.")
@click.option(
    "--set",
    "more",
    multiple=True,
    metavar="TYPE.FIELD=VALUE",
    help="Another field, its value as JSON or text, such as transmitter.convertUdts=false.",
)
@click.option("--save-transmitter", is_flag=True, help="Save it even if nothing differs: it arms.")
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write files into this folder instead, made from the gateway's own defaults.",
)
@click.option("--script", is_flag=True, help="Print a script for Ignition 8.1 instead.")
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option(
    "--wait",
    type=Number(0, 300),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look at the log for whether the transmitter is armed.",
)
def command(config_path: Path, **given: Any) -> int:
    """Set up MQTT Transmission of Ignition 8.3 or later so that it keeps data for this consumer.

    A history store, a server set with our host id as primary host, a server where --server names
    one, and a transmitter, in this order. The difference is shown before. What is so already stays
    as it is; fields that the gateway does not know are reported, and nothing is written then.

    Never tried on a live gateway: see docs/ignition.md.
    """
    configuration = config.load(config_path, os.environ, secrets=False)
    if configuration.host.mode == "passive":
        raise ConfigurationError(
            "host.mode: is passive: this host never says that it is online, and gateways that "
            "wait for it would publish nothing"
        )
    secret = _secret(given)
    wishes = _wishes(configuration, secret, given)
    if given["script"]:
        echo_text(transmission_script(wishes, with_password=secret is not None))
        return 0
    if not given["gateway"]:
        raise click.UsageError("--gateway names the gateway; only --script does without")
    gateway = reached(given["gateway"], given["key_file"], given["ca_file"], given["timeout"])
    info = gateway.info()
    name, version = (one_line(str(info.get(key, ""))) for key in ("name", "ignitionVersion"))
    echo(f"{name} is Ignition {version}", err=True)
    if secret is not None:
        echo(
            f"note: the secret provider {secret[0]!r} of the gateway must have an entry "
            f"{secret[1]!r} with the MQTT password: make it there",
            err=True,
        )
    if given["files"] is not None:
        return _write_files(gateway, wishes, given)
    return _set_up(gateway, wishes, given)


def _set_up(gateway: Gateway, wishes: Wishes, given: dict[str, Any]) -> int:
    rewritten = False
    for _ in range(_TRIES):
        plan = plan_transmission(
            gateway, wishes, save=given["save_transmitter"], rewritten=rewritten
        )
        _show(plan)
        if not plan.steps:
            return _tell_armed(gateway, wishes, None, 0.0, is_alone=plan.is_alone)
        if given["dry_run"]:
            echo("nothing was written: --dry-run", err=True)
            return 0
        if not given["yes"] and not confirm(f"write this to {gateway.url}?"):
            echo("nothing more was written: --yes writes without asking", err=True)
            return EXIT_CONFIGURATION
        try:
            for step in plan.steps:
                write_step(gateway, step)
                rewritten = rewritten or step.kind.type == "history-store"
                echo(f"written: {step.kind.type} {step.name!r}", err=True)
        except ResourceChangedError as error:
            echo(f"{error}; it is read again, and the difference is now:", err=True)
            continue
        # Whatever is written first, the transmitter is written last, unless it is as it should be.
        is_saved = plan.steps[-1].kind.type == "transmitter"
        old = plan.flush if is_saved else None
        wait = given["wait"] if is_saved else 0.0
        return _tell_armed(gateway, wishes, old, wait, is_alone=plan.is_alone)
    raise GatewayError(
        f"{gateway.url}: somebody changes the same resources all the time; try again later"
    )


def _show(plan: Plan) -> None:
    for note in plan.notes:
        echo(f"note: {note}", err=True)
    for step in plan.steps:
        for line in step.lines():
            echo(line)
    if not plan.steps:
        echo("everything is as it should be: nothing to write", err=True)


def _tell_armed(
    gateway: Gateway, wishes: Wishes, old: Flush | None, wait: float, *, is_alone: bool
) -> int:
    """Say whether the transmitter keeps data, by the log; 1 if it does not."""
    deadline = time.monotonic() + wait
    while True:
        flush = flush_since_saved(gateway, wishes, old)
        if flush is not None:
            break
        if time.monotonic() >= deadline:
            echo(
                "whether it is armed cannot be seen yet: the transmitter says it once it has found "
                "this host online; then look with `ignition check`",
                err=True,
            )
            return 0
        time.sleep(_PAUSE)
    if not is_alone:
        echo(
            f"the log says historyFlushType={flush.type}, and not of which transmitter of "
            "several: look at the gateway's log; if in doubt save this one with --save-transmitter",
            err=True,
        )
        return 0 if flush.keeps else EXIT_FAILURE
    if flush.keeps:
        echo(f"armed: the log says historyFlushType={flush.type}", err=True)
        return 0
    echo(
        f"NOT armed: the log says historyFlushType={flush.type}: everything is dropped while this "
        "host is away; save the transmitter again with --save-transmitter",
        err=True,
    )
    return EXIT_FAILURE


def _write_files(gateway: Gateway, wishes: Wishes, given: dict[str, Any]) -> int:
    plan = plan_transmission(gateway, wishes, save=given["save_transmitter"])
    _show(plan)
    if given["dry_run"]:
        echo("nothing was written: --dry-run", err=True)
        return 0
    folder = given["files"]
    for path in write_resource_files(folder, plan.steps, time.time()):
        echo(f"written: {path}", err=True)
    if plan.steps:
        echo(
            f"copy what is in {folder} into config/resources/core of the gateway's data directory, "
            "then POST /data/api/v1/scan/config, or restart it; save the transmitter again after "
            "that: it is armed only if it is read after its history store",
            err=True,
        )
    return 0


def _secret(given: dict[str, Any]) -> tuple[str, str] | None:
    if bool(given["secret_provider"]) != bool(given["secret_name"]):
        raise click.UsageError("--secret-provider and --secret-name go together")
    if not given["secret_provider"]:
        return None
    if not given["server"] and not given["mqtt_url"]:
        raise click.UsageError("--secret-provider is for a server: name one with --server")
    return given["secret_provider"], given["secret_name"]


def _wishes(
    configuration: config.Configuration, secret: tuple[str, str] | None, given: dict[str, Any]
) -> Wishes:
    """What the configuration and the command line ask for."""
    names = {
        kind: given[f"{option}_name"] or given["name"]
        for kind, option in zip(TYPES, ("store", "set", "server", "transmitter"), strict=True)
    }
    transmitter = {
        field: given[option] for option, field in _PLACES.items() if given[option] is not None
    }
    return Wishes(
        host_id=configuration.host.id,
        names=names,
        server=_server(configuration, secret, given),
        transmitter=transmitter,
        more=_more(given["more"]),
        on_disk=given["store_type"] == "disk",
    )


def _server(
    configuration: config.Configuration, secret: tuple[str, str] | None, given: dict[str, Any]
) -> dict[str, Any]:
    url, username = given["mqtt_url"], given["username"]
    if given["server"]:
        found = {each.name: each for each in configuration.servers}
        if given["server"] not in found:
            raise click.UsageError(f"--server: the configuration has {', '.join(sorted(found))}")
        server = found[given["server"]]
        if not url and server.host in {"localhost", "127.0.0.1", "::1"}:
            echo(
                f"warning: {server.url} is the gateway itself from where it looks; give --mqtt-url",
                err=True,
            )
        url = url or server.url
        username = server.username if username is None else username
    return server_fields(url, username or "", secret) if url else {}


def _more(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Fields by type, from `TYPE.FIELD=VALUE`."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        where, equals, value = text.partition("=")
        kind, dot, name = where.partition(".")
        if not equals or not dot or kind not in TYPES or not name:
            raise click.UsageError(f"--set: write TYPE.FIELD=VALUE, with one of {', '.join(TYPES)}")
        if "password" in name.lower() or "secret" in name.lower():
            raise click.UsageError("--set: passwords are given by --secret-provider alone")
        try:
            found.setdefault(kind, {})[name] = json.loads(value)
        except (ValueError, RecursionError):
            found.setdefault(kind, {})[name] = value
    return found
