"""MQTT Transmission set up for one host: history store, server set, server, transmitter.

In this order, the transmitter last: it decides when it is saved whether it keeps data while the
host is away, by whether its history store is enabled at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import ConfigurationError, UnknownFieldError
from consumer.network import one_line
from consumer.setup.ignition.flush import Flush, read_flush, save_again
from consumer.setup.ignition.plan import Step, Wanted, plan_step
from consumer.setup.ignition.resources import (
    HISTORY_STORE,
    SERVER,
    SERVER_SET,
    TRANSMITTER,
    Resource,
    referenced,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.setup.ignition.gateway import Gateway

DISK: Final = {"IN_MEMORY": "DISK_BACKED", "In-Memory": "Disk-Backed"}
"""Both names of each kind of history store, as vendor documentation spells them."""

TYPES: Final = tuple(kind.type for kind in (HISTORY_STORE, SERVER_SET, SERVER, TRANSMITTER))
_MOST_DOUBLES: Final = 10
_SCHEMES: Final = {"mqtt": "tcp", "tcp": "tcp", "mqtts": "ssl", "ssl": "ssl"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What Transmission should be.

    Attributes:
        host_id: of the host that gateways wait for.
        names: of the resources, by type.
        server: fields of the server; empty to make none.
        transmitter: more fields of the transmitter, beside its server set and its store.
        more: fields by type, as somebody gave them by name.
        on_disk: whether the history store must be one that survives a restart.
    """

    host_id: str
    names: Mapping[str, str]
    server: Mapping[str, Any] = field(default_factory=dict)
    transmitter: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    on_disk: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be written, in its order.

    Attributes:
        steps: one for each resource that differs.
        flush: what the log says of the transmitter before.
        notes: what else is to be known.
        is_alone: whether no other transmitter is enabled. Else what the log says may be of that.
    """

    steps: tuple[Step, ...]
    flush: Flush | None
    notes: tuple[str, ...]
    is_alone: bool


def server_fields(url: str, username: str, secret: tuple[str, str] | None) -> dict[str, Any]:
    """Fields of a server, from an address as the consumer's configuration has it.

    Args:
        url: mqtt://host:1883 or mqtts://host:8883, or as Transmission writes it: tcp, ssl.
        username: empty for none.
        secret: provider and name of the password's entry in the gateway; None for no password.

    Raises:
        ConfigurationError: the address has another form.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in _SCHEMES or not rest or "@" in rest:
        raise ConfigurationError("--mqtt-url: must be tcp://HOST:PORT or ssl://HOST:PORT")
    ours = _SCHEMES[scheme.lower()]
    host = rest.rstrip("/")
    if ":" not in host.rpartition("]")[2]:
        host += ":8883" if ours == "ssl" else ":1883"
    fields: dict[str, Any] = {"url": f"{ours}://{host}"}
    if username:
        fields["username"] = username
    if secret is not None:
        fields["password"] = referenced(*secret)
    return fields


def plan_transmission(
    gateway: Gateway, wishes: Wishes, *, save: bool = False, rewritten: bool = False
) -> Plan:
    """Compare a gateway with wishes; it is read, not written.

    Args:
        gateway: the gateway.
        wishes: what it should be.
        save: save the transmitter in any case.
        rewritten: the store was written a moment ago, and the transmitter not since.

    Raises:
        UnknownFieldError: the gateway lacks a field that is to be set.
        GatewayError: it cannot be asked, or refuses.
    """
    names = wishes.names
    stores = {each.name: each for each in gateway.resources(HISTORY_STORE)}
    transmitters = {each.name: each for each in gateway.resources(TRANSMITTER)}
    store_name, own = names[HISTORY_STORE.type], names[TRANSMITTER.type]
    flush = read_flush(gateway)
    is_alone = not any(each.enabled for name, each in transmitters.items() if name != own)
    wanted = [
        Wanted(HISTORY_STORE, store_name, _store_fields(gateway, wishes, stores.get(store_name))),
        Wanted(SERVER_SET, names[SERVER_SET.type], {"primaryHostId": wishes.host_id}),
    ]
    if wishes.server:
        fields = {**wishes.server, "serverSet": names[SERVER_SET.type]}
        wanted.append(Wanted(SERVER, names[SERVER.type], fields))
    made = [plan_step(gateway, _with_more(each, wishes.more)) for each in wanted]
    links = {"serverSet": names[SERVER_SET.type], "historyStore": store_name}
    last = Wanted(TRANSMITTER, own, {**wishes.transmitter, **links})
    # Of several transmitters the line says not whose it is: each run would save ours again.
    told = flush if is_alone else None
    why = _why(made[0], stores.get(store_name), transmitters.get(own), told, rewritten=rewritten)
    if save and not why:
        why = "asked for"
    made.append(plan_step(gateway, _with_more(last, wishes.more), why=why))
    steps = tuple(each for each in made if each is not None)
    notes = [*_unserved(gateway, wishes), *_doubles(own, steps, transmitters)]
    return Plan(steps, flush, tuple(notes), is_alone)


def flush_since_saved(gateway: Gateway, wishes: Wishes, old: Flush | None) -> Flush | None:
    """What the log says of a transmitter since it was saved; None if it says nothing yet.

    Args:
        gateway: the gateway.
        wishes: names the transmitter.
        old: what the log said before it was saved, if it was saved a moment ago: not every
            gateway tells when that was.

    Raises:
        GatewayError: the gateway cannot be asked, or refuses.
    """
    transmitter = gateway.find(TRANSMITTER, wishes.names[TRANSMITTER.type])
    saved = transmitter.modified if transmitter is not None else None
    flush = read_flush(gateway)
    if flush is None or flush.time < (saved or 0):
        return None
    return None if old is not None and flush.time <= old.time else flush


def _why(
    store_step: Step | None,
    store: Resource | None,
    transmitter: Resource | None,
    flush: Flush | None,
    *,
    rewritten: bool,
) -> str:
    """Why the transmitter is saved again, where nothing in it differs; empty for no reason."""
    if store_step is not None or rewritten:
        return "its history store is written before it"
    if transmitter is None or not transmitter.enabled:
        return ""
    return save_again(flush, store.modified if store else None, transmitter.modified)


def _with_more(wanted: Wanted, more: Mapping[str, Mapping[str, Any]]) -> Wanted:
    return Wanted(wanted.kind, wanted.name, {**wanted.fields, **more.get(wanted.kind.type, {})})


def _store_fields(gateway: Gateway, wishes: Wishes, store: Resource | None) -> dict[str, Any]:
    """The field with the store's kind, found by its value: 8.3's name of it is not documented."""
    if not wishes.on_disk:
        return {}
    known = store.config if store else gateway.default_config(HISTORY_STORE)
    given = wishes.more.get(HISTORY_STORE.type, {})
    found = store_type(known)
    if found is not None:
        return {found[0]: DISK.get(found[1], found[1])}
    if given:
        return {}
    raise UnknownFieldError(
        f"{gateway.url}: no field of a {HISTORY_STORE.type} says whether it is in memory or on "
        "disk in a way that is known here; nothing was written: give the field by "
        f"--set {HISTORY_STORE.type}.FIELD=VALUE, or leave it alone with --store-type keep"
    )


def store_type(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """The field of a history store that holds its kind, and what it holds.

    None where no field, or more than one, holds one of the documented words.
    """
    words = {*DISK, *DISK.values()}
    found = [
        (name, value) for name, value in config.items() if isinstance(value, str) and value in words
    ]
    return found[0] if len(found) == 1 else None


def is_on_disk(config: Mapping[str, Any]) -> bool | None:
    """Whether a history store survives a restart; None if it cannot be told."""
    found = store_type(config)
    return None if found is None else found[1] in DISK.values()


def _unserved(gateway: Gateway, wishes: Wishes) -> list[str]:
    """Whether nobody connects the server set with an MQTT server."""
    name = wishes.names[SERVER_SET.type]
    if wishes.server or any(
        each.enabled and each.config.get("serverSet") == name for each in gateway.resources(SERVER)
    ):
        return []
    return [f"no server is in the server set {name!r}: name one with --server, or put one there"]


def _doubles(own: str, steps: tuple[Step, ...], others: Mapping[str, Resource]) -> list[str]:
    """Other transmitters that publish the same tags."""
    mine = next((each.config for each in steps if each.kind == TRANSMITTER), None)
    if mine is None:
        return []
    same = ("tagProvider", "tagPath")
    found = [
        name
        for name, each in others.items()
        if name != own
        and each.enabled
        and all(each.config.get(key) == mine.get(key) for key in same)
    ]
    notes = [
        f"the transmitter {one_line(name)!r} publishes the same tags: each value would come twice; "
        "disable it"
        for name in found[:_MOST_DOUBLES]
    ]
    if len(found) > _MOST_DOUBLES:
        notes.append(f"so do {len(found) - _MOST_DOUBLES} more transmitters")
    return notes
