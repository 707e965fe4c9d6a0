"""What the fake gateway holds: resources with signatures, and a log."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import Any

from support.gateway.defaults import DEFAULTS, SINGLETONS, TX

START_MS = 1_796_000_000_000


class GatewayState:
    """Resources by type and name, and log lines. Time goes on by one second with each event.

    As it ships (published measurements): one history store, disabled although its config looks
    healthy; one server set and one server on localhost. There is no transmitter: which one ships
    is not documented.

    Attributes:
        version: 8.3.7 unless a test says otherwise. Before 8.3 there is no REST API.
        types: type -> defaultConfig. A test takes some away, or changes fields.
        resources: type -> name -> what a read tells. A singleton's name is "".
        log: lines as `logs` tells them.
        written: (method, type, name) of each write that was taken.
        tells_times: whether `attributes` holds `lastModification`; 38 of 51 measured types do.
        before_write: called with (method, type, items) ahead of a write; for what others change
            in between. May return a whole answer (status, body) instead of writing.
        is_online: whether transmitters have their primary host. Only then is a log line written.
        extra_info: more keys of gateway-info.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = "8.3.7"
        self.types = copy.deepcopy(DEFAULTS)
        self.resources: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in self.types}
        self.log: list[dict[str, Any]] = []
        self.written: list[tuple[str, str, str]] = []
        self.tells_times = True
        self.before_write = None
        self.is_online = True
        self.extra_info: dict[str, Any] = {}
        self._now = START_MS
        self._number = 0
        self.put(f"{TX}/history-store", "Default In-Memory Store", enabled=False)
        self.put(f"{TX}/server-set", "Default")
        self.put(f"{TX}/server", "Local", url="tcp://localhost:1883", serverSet="Default")
        for kind in SINGLETONS:
            self.put(kind, "")

    def put(self, kind: str, name: str, *, enabled: bool = True, **fields: Any) -> dict[str, Any]:
        """Make or change a resource, as somebody on the gateway's pages does."""
        with self.lock:
            before = self.resources[kind].get(name)
            config = copy.deepcopy(before["config"] if before else self.types[kind])
            config.update(fields)
            return self._store(kind, name, config, enabled=enabled, description="")

    def config(self, kind: str, name: str) -> dict[str, Any]:
        """The config of a resource of Transmission."""
        return self.resources[f"{TX}/{kind}"][name]["config"]

    def say(self, logger: str, message: str) -> None:
        """Add a line to the log: epoch ms, logger, level and message, by measurements."""
        with self.lock:
            self.log.append(
                {
                    "timestamp": self.tick(),
                    "loggerName": logger,
                    "level": "INFO",
                    "message": message,
                }
            )

    def tick(self) -> int:
        self._now += 1000
        return self._now

    def write(self, method: str, kind: str, items: Any) -> tuple[int, Any]:
        """Take an array of items. Returns the HTTP status and the body.

        The body of 200 holds success, changes[].newSignature and problem; 409 is for a name that
        exists already (POST), 422 for fields that do not hold (both: published measurements). What
        an old signature is answered with was not measured: here 200 with success:false, and 409
        where a test asks for it with `before_write`.
        """
        with self.lock:
            if self.before_write is not None:
                answer = self.before_write(method, kind, items)
                if answer is not None:
                    return answer
            if not isinstance(items, list):
                return 400, {"message": "Invalid request body"}
            changes = []
            for item in items:
                refused = self._refusal(method, kind, item)
                if refused is not None:
                    return refused
                name = "" if kind in SINGLETONS else item["name"]
                before = self.resources[kind].get(name)
                config = item.get("config", before["config"] if before else self.types[kind])
                made = self._store(
                    kind,
                    name,
                    config,
                    enabled=item.get("enabled", True),
                    description=item.get("description", ""),
                )
                self.written.append((method, kind, name))
                change = {"type": kind, "collection": "core", "newSignature": made["signature"]}
                changes.append(change | ({"name": name} if name else {}))
            return 200, {"success": True, "changes": changes}

    def delete(self, kind: str, name: str, signature: str) -> tuple[int, Any]:
        with self.lock:
            found = self.resources.get(kind, {}).get(name)
            if found is None or found["signature"] != signature:
                return 200, {"success": False, "problem": {"message": "signature mismatch"}}
            del self.resources[kind][name]
            return 200, {"success": True, "changes": []}

    def _refusal(self, method: str, kind: str, item: Any) -> tuple[int, Any] | None:
        is_single = kind in SINGLETONS
        if not isinstance(item, dict) or (is_single == ("name" in item)):
            return 422, {"success": False, "problem": {"messages": ["name"]}}
        found = self.resources[kind].get("" if is_single else item["name"])
        if method == "POST":
            if found is not None:
                return 409, {"success": False, "problem": {"message": "name is in use"}}
            return self._wrong_fields(kind, item)
        if found is None or item.get("signature") != found["signature"]:
            return 200, {"success": False, "problem": {"message": "signature mismatch"}}
        return self._wrong_fields(kind, item)

    def _wrong_fields(self, kind: str, item: Any) -> tuple[int, Any] | None:
        unknown = sorted(item.get("config", {}).keys() - self.types[kind].keys())
        if not unknown:
            return None
        messages = [{"fieldName": each, "messages": ["not known"]} for each in unknown]
        return 422, {"success": False, "problem": {"messages": [], "fieldMessages": messages}}

    def _store(self, kind, name, config, *, enabled, description):
        self._number += 1
        when = datetime.fromtimestamp(self.tick() / 1000, UTC).isoformat().replace("+00:00", "Z")
        last = {"lastModification": {"actor": "admin", "timestamp": when}}
        text = json.dumps([kind, name, config, enabled, self._number])
        # By measurements: 64 hex digits, and another one after each write.
        made = {
            "type": kind,
            "name": name,
            "description": description,
            "enabled": enabled,
            "version": 1,
            "collection": "core",
            "collections": ["core"],
            "signature": hashlib.sha256(text.encode()).hexdigest(),
            "config": copy.deepcopy(config),
            "data": ["config.json"],
            "attributes": last if self.tells_times else {},
            "metrics": {},
            "healthchecks": [],
        }
        if kind in SINGLETONS:
            del made["name"]
        self.resources[kind][name] = made
        if kind == f"{TX}/transmitter" and enabled and self.is_online:
            self.go_online(name)
        return made

    def go_online(self, name: str) -> None:
        """Write the line of a transmitter that has found its primary host.

        The way of flushing is computed once, when a transmitter is saved, from whether its store
        was enabled then (published measurements); so only a save calls this.
        """
        config = self.config("transmitter", name)
        store = self.resources[f"{TX}/history-store"].get(config.get("historyStore") or "")
        flush = "NONE"
        if store is not None and store["enabled"]:
            flush = "IN_ORDER" if config.get("inOrderHistory") else "ASYNC"
        self.say(
            "com.cirruslink.mqtt.transmission.gateway.TransmissionClient",
            f"Handling transition to online with historyEnabled=true, historyFlushType={flush}",
        )
