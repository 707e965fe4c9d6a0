"""The fake gateway over HTTP and HTTPS."""

# ruff: noqa: C901, PLR0911 - one branch for each route

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from support.gateway.defaults import SINGLETONS
from support.gateway.state import GatewayState

KEY = "sparkplug:8vVqTQ0kq3nZQ4p8m6Yw"
"""Key that may read and write, in the form `name:secret` of an API key."""

READER_KEY = "reader:0xq1hY7cTn2s"
"""Key that may not write."""

API = "/data/api/v1/"
HTML = "<html><head><title>Error 404 Not Found</title></head><body><h2>HTTP ERROR 404</h2></body>"
KNOWN_PARAMETERS = {"limit", "offset", "search", "sortBy", "minLevel", "startTime", "endTime"}
OPERATORS = {"eq", "ne", "cn", "sw", "ew", "gt", "gte", "lt", "lte", "rgx"}


class FakeGateway:
    """A running fake.

    Attributes:
        state: what it holds.
        wants_https: keys are good over https only, as a gateway may demand.
        asked: (method, path, key) of each request.
    """

    def __init__(self, certificate=None) -> None:
        self.state = GatewayState()
        self.wants_https = False
        self.asked: list[tuple[str, str, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.gateway = self
        self.is_secure = certificate is not None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if self.is_secure else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def serving_gateway(certificate=None):
    """A fake gateway that answers; over https with a certificate."""
    gateway = FakeGateway(certificate)
    thread = threading.Thread(target=gateway.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        gateway.server.shutdown()
        thread.join()
        gateway.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self):
        self._handle("GET")

    def do_POST(self):
        self._handle("POST")

    def do_PUT(self):
        self._handle("PUT")

    def do_DELETE(self):
        self._handle("DELETE")

    def _handle(self, method):
        gateway = self.server.gateway
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        key = self.headers.get("X-Ignition-API-Token")
        gateway.asked.append((method, self.path, key))
        state = gateway.state
        if method == "GET" and parts.path == "/StatusPing":
            # Vendor documentation: answers when the gateway is up, on 8.1 and 8.3.
            return self._json(200, {"state": "RUNNING"})
        if method == "GET" and parts.path == "/system/gwinfo":
            # By measurements: plain text, semicolons between, on 8.1 and 8.3.
            text = f"ContextStatus=RUNNING;PlatformName=Ignition-fake;Version={state.version};"
            return self._send(200, text.encode(), "text/plain")
        if not self._has_api():
            # By measurements: everything below /data/api/v1 is 404 on 8.1.
            return self._not_found()
        if parts.path == "/openapi.json":
            # By the independent client: an OpenAPI document at the root.
            return self._json(200, {"openapi": "3.1.0", "paths": {}})
        if not parts.path.startswith(API):
            return self._not_found()
        route = [unquote(each) for each in parts.path.removeprefix(API).split("/")]
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not self._knows(method, route):
            # By measurements: the route is looked for before the key.
            return self._not_found()
        if not self._may(method, key):
            return None
        with state.lock:
            return self._answer(method, route, query, body)

    def _has_api(self):
        version = self.server.gateway.state.version
        return tuple(int(each) for each in version.split(".")[:2]) >= (8, 3)

    def _knows(self, method, route):
        types = self.server.gateway.state.types
        match method, route:
            case "GET", ["gateway-info"] | ["logs"]:
                return True
            case "POST", ["scan", "config" | "projects"]:
                return True
            case "GET", ["resources", "names" | "list" | "find", module, kind, *_]:
                return f"{module}/{kind}" in types and f"{module}/{kind}" not in SINGLETONS
            case "GET", ["resources", "singleton", module, kind]:
                return f"{module}/{kind}" in types and f"{module}/{kind}" in SINGLETONS
            case "GET", ["resources", "type", module, kind]:
                return f"{module}/{kind}" in types
            case "POST" | "PUT", ["resources", module, kind]:
                return f"{module}/{kind}" in types
            case "DELETE", ["resources", module, kind, _, _]:
                return f"{module}/{kind}" in types
        return False

    def _may(self, method, key):
        gateway = self.server.gateway
        good = key in {KEY, READER_KEY} and (gateway.is_secure or not gateway.wants_https)
        if not good:
            # By measurements: 401 has an empty body. Keys may demand https.
            self._send(401, b"", None)
            return False
        if key == READER_KEY and method != "GET":
            # By measurements: 403 has JSON.
            self._json(403, {"message": "Forbidden", "status": "403"})
            return False
        return True

    def _answer(self, method, route, query, body):
        state = self.server.gateway.state
        match method, route:
            case _, ["gateway-info"]:
                # By measurements; `extra_info` for what is not documented, such as a trial.
                info = {
                    "name": "fake",
                    "ignitionVersion": f"{state.version} (b2026060908)",
                    "edition": "standard",
                }
                return self._json(200, info | state.extra_info)
            case _, ["logs"]:
                return self._json(200, _filtered(state.log, query, newest_first=True))
            case _, ["scan", _]:
                state.written.append(("POST", route[1], "scan"))
                return self._json(200, {"success": True})
            case _, ["resources", "names", *kind]:
                named = state.resources["/".join(kind)].values()
                items = [{"name": each["name"], "enabled": each["enabled"]} for each in named]
                return self._json(200, _filtered(items, query))
            case _, ["resources", "list", *kind]:
                found = state.resources["/".join(kind)].values()
                return self._json(200, _filtered(list(found), query))
            case _, ["resources", "find", module, kind, name]:
                one = state.resources[f"{module}/{kind}"].get(name)
                # By measurements: 404 is HTML.
                return self._not_found() if one is None else self._json(200, one)
            case _, ["resources", "singleton", *kind]:
                # Singletons are read here and written at resources/{module}/{type}.
                return self._json(200, state.resources["/".join(kind)][""])
            case _, ["resources", "type", module, kind]:
                told = {
                    "module": module,
                    "typeId": kind,
                    "singleton": f"{module}/{kind}" in SINGLETONS,
                    "extensionPoint": False,
                    "extensionPoints": [],
                    "defaultConfig": state.types[f"{module}/{kind}"],
                }
                return self._json(200, told)
            case "DELETE", ["resources", module, kind, name, signature]:
                return self._json(*state.delete(f"{module}/{kind}", name, signature))
            case _, ["resources", *kind]:
                return self._json(*state.write(method, "/".join(kind), json.loads(body)))
        return self._not_found()

    def _not_found(self):
        self._send(404, HTML.encode(), "text/html;charset=iso-8859-1")

    def _json(self, status, told):
        self._send(status, json.dumps(told).encode(), "application/json")

    def _send(self, status, content, kind):
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.send_response(status)
            if kind is not None:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def _filtered(items, query, *, newest_first=False):
    """Items that a query lets pass, in the form of a list.

    By measurements: a parameter that is not known is taken for the name of a field, and lets
    nothing pass; `matching` counts what passes, `total` all. `limit` -1 means all.
    """
    passed = items[::-1] if newest_first else list(items)
    for name, wanted in query.items():
        if name in KNOWN_PARAMETERS:
            continue
        field, _, operator = name.removesuffix("]").partition("[")
        known = operator in OPERATORS and any(field in each for each in items)
        texts = [str(each.get(field, "")) for each in passed]
        if known and operator == "sw":
            passed = [
                each for each, text in zip(passed, texts, strict=True) if text.startswith(wanted)
            ]
        elif known and operator == "eq":
            passed = [each for each, text in zip(passed, texts, strict=True) if text == wanted]
        else:
            passed = []
    matching, limit = len(passed), int(query.get("limit", -1))
    offset = int(query.get("offset", 0))
    passed = passed[offset:] if limit < 0 else passed[offset : offset + limit]
    metadata = {"total": len(items), "matching": matching, "limit": limit, "offset": offset}
    return {"items": passed, "metadata": metadata}
