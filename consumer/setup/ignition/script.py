"""MQTT Transmission of Ignition 8.1, set up by a script: 8.1 has no REST API.

Keys are those of vendor documentation of `system.cirruslink.transmission.createConfig(type,
props)` for modules 4.0. Jython 2.7, which is Python 2.7: the text is valid in Python 3 as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import ConfigurationError
from consumer.setup.ignition.resources import HISTORY_STORE, SERVER, SERVER_SET, TRANSMITTER

if TYPE_CHECKING:
    from consumer.setup.ignition.transmission import Wishes

_KEYS: Final = {
    "groupId": "GroupId",
    "edgeNodeId": "EdgeNodeId",
    "deviceId": "DeviceId",
    "tagProvider": "TagProvider",
    "tagPath": "TagPath",
    "tagPacingPeriod": "TagPacingPeriod",
}
_HEAD: Final = """\
# MQTT Transmission for the Sparkplug host %(host)s. For Ignition 8.1 with modules 4.0, to be run
# once in the Designer's script console. Never tried on a live gateway.
#
# Each Id is a whole number that no other resource of its type has: look at what is there with
# system.cirruslink.transmission.readConfig, and change these four if need be.
STORE_ID = 9001
SET_ID = 9001
SERVER_ID = 9001
TRANSMITTER_ID = 9001
%(password)s
create = system.cirruslink.transmission.createConfig

"""
_TYPED: Final = """\
# 8.1 knows no secret providers: type the password of the MQTT server here, run this, and close
# the console without saving.
PASSWORD = ""
if not PASSWORD:
    raise ValueError("PASSWORD is empty: nothing was created")
"""
_TAIL: Final = """\

print("Created. Look at the log for historyFlushType=ASYNC once the transmitter is online: NONE")
print("means that it drops what it has while the host is away; then save the transmitter again.")
"""


class _Bare(str):
    """A piece of the script that is not quoted."""

    __slots__ = ()


def transmission_script(wishes: Wishes, *, with_password: bool) -> str:
    """The script, as text.

    Args:
        wishes: what Transmission should be; fields by name are those of 8.3, and refused.
        with_password: leave a place for the MQTT server's password.

    Raises:
        ConfigurationError: there are wishes that have no documented key in 8.1.
    """
    if wishes.more:
        raise ConfigurationError("--set: names fields of 8.3, which the script for 8.1 has not")
    names = wishes.names
    store: dict[str, Any] = {"Id": _Bare("STORE_ID"), "Name": names[HISTORY_STORE.type]}
    store["Enabled"] = True
    if wishes.on_disk:
        store["TransmissionHistoryStoreType"] = "DISK_BACKED"
    parts = [("History Stores", store)]
    hosts = {"Name": names[SERVER_SET.type], "PrimaryHostId": wishes.host_id}
    parts.append(("Sets", {"Id": _Bare("SET_ID"), **hosts}))
    if wishes.server:
        # Documented as text in a server, and as a number in a transmitter.
        server: dict[str, Any] = {"Id": _Bare("SERVER_ID"), "Name": names[SERVER.type]}
        server["Url"] = wishes.server["url"]
        server["ServerSetId"] = _Bare("str(SET_ID)")
        if wishes.server.get("username"):
            server["Username"] = wishes.server["username"]
        if with_password:
            server["Password"] = _Bare("PASSWORD")
        parts.append(("Servers", server))
    transmitter = {"Id": _Bare("TRANSMITTER_ID"), "Name": names[TRANSMITTER.type], "Enabled": True}
    links = {"ServerSetId": _Bare("SET_ID"), "HistoryStoreId": _Bare("STORE_ID")}
    given = {_KEYS[name]: value for name, value in wishes.transmitter.items()}
    parts.append(("Transmitters", {**transmitter, **links, **given}))
    password = _TYPED if with_password and wishes.server else ""
    head = _HEAD % {"host": _comment(wishes.host_id), "password": password}
    return head + "".join(_call(kind, props) for kind, props in parts) + _TAIL


def _call(kind: str, props: dict[str, Any]) -> str:
    lines = "".join(f"    {json.dumps(key)}: {_value(value)},\n" for key, value in props.items())
    return f"create({json.dumps(kind)}, {{\n{lines}}})\n"


def _value(value: Any) -> str:
    """A literal that Python 2 and 3 read alike: ASCII, a text of other letters as u"..."."""
    if isinstance(value, _Bare):
        return str(value)
    if isinstance(value, str):
        # JSON's escapes are Python's, in a text that is marked as Unicode.
        quoted = json.dumps(value)
        return quoted if value.isascii() and value.isprintable() else f"u{quoted}"
    return repr(value)


def _comment(text: str) -> str:
    return json.dumps(text)
