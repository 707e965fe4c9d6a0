"""What a gateway's configuration would lose or surprise with, said in words that mend.

Reads alone. Fields that a gateway does not tell are not guessed: what cannot be read is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from consumer.errors import NoResourceError
from consumer.network import one_line
from consumer.setup.ignition.flush import Flush, read_flush, save_again
from consumer.setup.ignition.resources import (
    ENGINE_GENERAL,
    HISTORY_STORE,
    SERVER,
    SERVER_SET,
    TRANSMITTER,
    Resource,
)
from consumer.setup.ignition.transmission import is_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.setup.ignition.gateway import Gateway

_SETUP: Final = "let `sparkplug-zerobus ignition transmission` do it"
_SLOW_PACING_MS: Final = 10_000
_OVER: Final = re.compile(r"expired|ended|lapsed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Concern:
    """One fact about one part of a gateway; `mend` says what to do about it.

    Attributes:
        status: FAIL loses data; warn may, or surprises; note is to be known.
    """

    status: Literal["ok", "note", "warn", "FAIL"]
    part: str
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was read of Transmission."""

    stores: dict[str, Resource]
    sets: dict[str, Resource]
    servers: list[Resource]
    transmitters: list[Resource]
    flush: Flush | None


def inspect_gateway(gateway: Gateway, host_id: str) -> Iterator[Concern]:
    """Read a gateway and say what is wrong, one part after the other.

    Args:
        gateway: the gateway.
        host_id: of the host that its edge nodes should wait for.

    Raises:
        GatewayError: it cannot be asked, or refuses, or is older than 8.3.
    """
    info = gateway.info()
    name, version = (one_line(str(info.get(key, ""))) for key in ("name", "ignitionVersion"))
    yield Concern("ok", "gateway", f"{name} is Ignition {version}")
    yield from _licence(info)
    try:
        sight = _Sight(
            stores={each.name: each for each in gateway.resources(HISTORY_STORE)},
            sets={each.name: each for each in gateway.resources(SERVER_SET)},
            servers=gateway.resources(SERVER),
            transmitters=[each for each in gateway.resources(TRANSMITTER) if each.enabled],
            flush=read_flush(gateway),
        )
    except NoResourceError as error:
        yield Concern("FAIL", "transmission", str(error), "install MQTT Transmission 5.0 or later")
    else:
        yield from _transmission(sight, host_id)
    yield from _engine(gateway)


def _licence(info: dict[str, Any]) -> Iterator[Concern]:
    """Trial and licence, where gateway-info tells of them: by keys that are not documented."""
    told = {key: each for key, each in info.items() if re.search("trial|licen", key, re.IGNORECASE)}
    if not told:
        yield Concern(
            "note",
            "licence",
            "the gateway does not tell here whether a trial runs",
            "look at its licensing page: with a trial that has run out Transmission stops, and "
            "nothing on the wire says why",
        )
    for key, value in told.items():
        said = one_line(f"{key}: {value}")
        is_over = (
            (value is True and _OVER.search(key))
            or (isinstance(value, str) and _OVER.search(value))
            or (
                value == 0
                and value is not False
                and re.search("remain|left|second", key, re.IGNORECASE)
            )
        )
        if is_over:
            yield Concern("FAIL", "licence", said, "reset the trial, or enter a licence")
        elif re.search("trial", f"{key} {value}", re.IGNORECASE) and value is not False:
            yield Concern("warn", "licence", said, "a trial runs out: enter a licence")
        else:
            yield Concern("ok", "licence", said)


def _transmission(sight: _Sight, host_id: str) -> Iterator[Concern]:
    if not sight.transmitters:
        yield Concern("FAIL", "transmission", "no transmitter is enabled", _SETUP)
    for each in sight.transmitters:
        part = f"transmitter {each.name}"
        concerns = [*_keeping(each, sight, part), *_host(each, sight, host_id, part)]
        concerns += _payload(each.config, part)
        yield from concerns
        if all(concern.status in {"ok", "note"} for concern in concerns):
            yield Concern("ok", part, "keeps data while the host is away, and waits for it")
    used = {each.config.get("serverSet") for each in sight.transmitters}
    for server in sight.servers:
        if server.config.get("serverSet") in used:
            yield from _server(server)


def _keeping(transmitter: Resource, sight: _Sight, part: str) -> Iterator[Concern]:
    """The three conditions of store and forward, and the witness of the third."""
    name = transmitter.config.get("historyStore")
    store = sight.stores.get(name) if isinstance(name, str) else None
    lost = "every value is dropped while the host is away"
    if not name:
        yield Concern("FAIL", part, f"names no history store: {lost}", _SETUP)
    elif store is None:
        yield Concern(
            "FAIL", part, f"names a history store {name!r} that is absent: {lost}", _SETUP
        )
    elif not store.enabled:
        mend = f"enable it, then save the transmitter again; or {_SETUP}"
        yield Concern("FAIL", part, f"its history store {name!r} is disabled: {lost}", mend)
    else:
        yield from _store(store, part)
        yield from _armed(transmitter, store, sight, part)
    if transmitter.config.get("enableStoreForwardByDefault") is False:
        text = "stores values only of tags that say so (enableStoreForwardByDefault is false)"
        yield Concern("warn", part, text, "set it, unless single tags are meant")


def _store(store: Resource, part: str) -> Iterator[Concern]:
    on_disk = is_on_disk(store.config)
    if on_disk is False:
        text = f"its history store {store.name!r} is in memory: a restart forgets what it keeps"
        yield Concern("warn", part, text, "make it disk-backed")
    elif on_disk is None:
        text = f"whether its history store {store.name!r} is on disk cannot be told"
        yield Concern("note", part, text, "look at its type on the gateway's pages")
    if store.config.get("rollingHistoryBufferEnabled") is False:
        text = (
            "has no rolling history buffer: what it publishes into a dead connection is lost "
            "until the keep-alive ends (about 1.5 times of it)"
        )
        yield Concern("warn", part, text, f"enable it in the history store {store.name!r}")


def _armed(transmitter: Resource, store: Resource, sight: _Sight, part: str) -> Iterator[Concern]:
    why = save_again(sight.flush, store.modified, transmitter.modified)
    save = "save the transmitter again (`ignition transmission --save-transmitter`)"
    saved = transmitter.modified or 0
    if why:
        text = f"is not armed: {why}; every value is dropped while the host is away"
        # With several transmitters the line may be that of another; times are its own.
        is_sure = len(sight.transmitters) == 1 or bool(
            save_again(None, store.modified, transmitter.modified)
        )
        yield Concern("FAIL" if is_sure else "warn", part, text, save)
    elif sight.flush is None or sight.flush.time < saved:
        text = "whether it is armed cannot be seen yet: no line in the log since it was saved"
        yield Concern("warn", part, text, "look again once it has found its host online")
    elif len(sight.transmitters) > 1:
        text = f"the newest line in the log says {sight.flush.type}, and not of which transmitter"
        yield Concern("note", part, text, f"if in doubt, {save}")
    elif sight.flush.keeps:
        yield Concern("ok", part, f"is armed: historyFlushType={sight.flush.type}")


def _host(transmitter: Resource, sight: _Sight, host_id: str, part: str) -> Iterator[Concern]:
    name = transmitter.config.get("serverSet")
    found = sight.sets.get(name) if isinstance(name, str) else None
    if found is None:
        yield Concern("FAIL", part, f"names a server set {name!r} that is absent", _SETUP)
        return
    host = found.config.get("primaryHostId")
    if not host:
        text = f"waits for no host: the server set {name!r} has no primary host id"
        yield Concern("FAIL", part, f"{text}, so nothing is kept while ours is away", _SETUP)
    elif host != host_id:
        text = f"waits for the host {host!r}, and ours is {host_id!r}"
        mend = "set our id in a server set of its own, or host.id to theirs if they are one host"
        yield Concern("FAIL", part, f"{text}: what ours misses is not kept", mend)
    if not any(_connects(each) for each in sight.servers if each.config.get("serverSet") == name):
        yield Concern("FAIL", part, f"no server is enabled in the server set {name!r}", _SETUP)


def _payload(config: dict[str, Any], part: str) -> Iterator[Concern]:
    """Settings that change what arrives, or whether commands do."""
    if config.get("convertUdts") is True:
        yield Concern("note", part, "flattens UDTs into plain tags (convertUdts)")
    elif config.get("convertUdts") is False and config.get("publishUdtDefinitions") is False:
        text = "sends instances of UDTs without their definitions"
        yield Concern("FAIL", part, text, "set publishUdtDefinitions, or convertUdts")
    elif config.get("convertUdts") is False and config.get("optimizeUdts") is True:
        text = "sends of a changed UDT the changed members alone (optimizeUdts)"
        yield Concern("note", part, text)
    pacing = config.get("tagPacingPeriod")
    if isinstance(pacing, int) and pacing > _SLOW_PACING_MS:
        text = f"collects values for {pacing} ms before it publishes (tagPacingPeriod)"
        yield Concern("warn", part, text, "make it smaller: 1000 is usual")
    if config.get("aliasedTags") is True:
        text = "uses aliases: after a birth that was missed values cannot be named until the next"
        yield Concern("note", part, text)
    compression = config.get("compressionTypeWrapper")
    if compression not in {None, "NONE", "DEFLATE", "GZIP"}:
        text = f"compresses in a way that is not known here: {one_line(str(compression))}"
        yield Concern("FAIL", part, text, "set compressionTypeWrapper to NONE, DEFLATE or GZIP")
    elif compression in {"DEFLATE", "GZIP"}:
        yield Concern("note", part, f"compresses its payloads: {compression}")
    if config.get("blockCommands") is True:
        text = "blocks commands (blockCommands): tags cannot be written from outside"
        yield Concern("note", part, text)


def _connects(server: Resource) -> bool:
    return server.enabled and server.config.get("mqttServerConnectionEnabled") is not False


def _server(server: Resource) -> Iterator[Concern]:
    part = f"server {server.name}"
    if not _connects(server):
        yield Concern("warn", part, "is disabled", "enable it, or take it out of the set")
    if server.config.get("subscribeToLegacyStateTopic") is True:
        text = "also listens to STATE as it was before Sparkplug 3.0 (subscribeToLegacyStateTopic)"
        yield Concern("note", part, text, "this host publishes spBv1.0/STATE; others may not")
    form = server.config.get("dataFormatTypeWrapper")
    if isinstance(form, str) and "Protobuf" not in form:
        text = f"publishes {one_line(form)}, not Protobuf"
        yield Concern("FAIL", part, text, "set dataFormatTypeWrapper to Sparkplug_B_v1_0_Protobuf")


def _engine(gateway: Gateway) -> Iterator[Concern]:
    """MQTT Engine, where it is installed: settings that surprise beside another host."""
    try:
        config = gateway.singleton(ENGINE_GENERAL).config
    except NoResourceError:
        return
    blocked = [key for key in ("blockNodeCommands", "blockDeviceCommands") if config.get(key)]
    if blocked:
        text = f"writes nothing to edge nodes ({', '.join(blocked)}, as it ships)"
        yield Concern("note", "engine", text, "a written value snaps back without an error")
    if config.get("enableBdSeqChecking") is False:
        text = "does not compare bdSeq of births and deaths (enableBdSeqChecking)"
        mend = "an old death may make a node look dead there, and not here"
        yield Concern("note", "engine", text, mend)
