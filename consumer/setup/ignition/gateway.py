"""The REST API of an Ignition gateway, 8.3 or later, as far as it is used here.

Its shapes are those of vendor documentation and of published measurements with 8.3.7; it was
never tried on a live gateway. Parameters of queries are known ones only: one that the gateway
does not know is no error there, it filters everything away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from consumer.errors import (
    GatewayError,
    GatewayKeyError,
    NoGatewayError,
    NoResourceError,
    OldGatewayError,
    WriteRefusedError,
)
from consumer.setup.ignition.resources import Kind, Resource, read_resource

if TYPE_CHECKING:
    from consumer.setup.ignition.calls import Answer, Calls

_API: Final = "/data/api/v1/"
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_GOOD: Final = range(200, 300)
_VERSION: Final = re.compile(r"(?:^|;)Version=([0-9A-Za-z.() -]{1,40})")


class Gateway:
    """One gateway, asked over its REST API.

    Args:
        calls: reaches it.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.url = calls.url

    def info(self) -> dict[str, Any]:
        """What the gateway tells of itself, such as `name` and `ignitionVersion`.

        Raises:
            OldGatewayError: it has no REST API: Ignition 8.1 or older.
            NoGatewayError: what answers is no Ignition gateway.
            GatewayError: it cannot be asked, or refuses.
        """
        answer = self._calls.ask("GET", f"{_API}gateway-info")
        told = answer.json()
        if answer.status == _NOT_FOUND or (answer.status in _GOOD and not isinstance(told, dict)):
            self._tell_age()
        self._check(answer, "gateway-info")
        return told if isinstance(told, dict) else {}

    def resources(self, kind: Kind) -> list[Resource]:
        """All resources of a type that has names.

        Raises:
            NoResourceError: the gateway does not know the type: the module is missing.
            GatewayError: it cannot be asked, or refuses, or its answer is not understood.
        """
        told = self._get(f"resources/list/{kind.path}")
        items = told.get("items") if isinstance(told, dict) else None
        if not isinstance(items, list):
            raise self._strange(f"resources/list/{kind.path}")
        found = [read_resource(each) for each in items]
        if None in found or self._is_cut(told, len(items)):
            raise self._strange(f"resources/list/{kind.path}")
        return [each for each in found if each is not None]

    def find(self, kind: Kind, name: str) -> Resource | None:
        """One resource of a type that has names; None if there is none of this name.

        Raises:
            GatewayError: it cannot be asked, or refuses, or its answer is not understood.
        """
        path = f"resources/find/{kind.path}/{quote(name, safe='')}"
        try:
            told = self._get(path)
        except NoResourceError:
            return None
        found = read_resource(told)
        if found is None:
            raise self._strange(path)
        return found

    def singleton(self, kind: Kind) -> Resource:
        """The one resource of a type without names.

        Raises:
            NoResourceError: the gateway does not know the type: the module is missing.
            GatewayError: it cannot be asked, or refuses, or its answer is not understood.
        """
        found = read_resource(self._get(f"resources/singleton/{kind.path}"))
        if found is None:
            raise self._strange(f"resources/singleton/{kind.path}")
        return found

    def default_config(self, kind: Kind) -> dict[str, Any]:
        """The config that a new resource of a type begins with.

        Raises:
            NoResourceError: the gateway does not know the type: the module is missing.
            GatewayError: it tells none: a type made of several kinds, which is not known here.
        """
        told = self._get(f"resources/type/{kind.path}")
        config = told.get("defaultConfig") if isinstance(told, dict) else None
        if not isinstance(config, dict) or not config:
            raise GatewayError(
                f"{self.url} tells no defaultConfig of {kind.path}: what a new one consists of is "
                "not known, so nothing was written; make it by hand, and name it here"
            )
        return config

    def create(self, kind: Kind, name: str, config: dict[str, Any], *, enabled: bool) -> str:
        """Make a resource; returns its signature, empty if the gateway does not tell it.

        Raises:
            WriteRefusedError: the gateway did not take it.
            GatewayError: it cannot be asked, or refuses the key.
        """
        item = {"name": name, "enabled": enabled, "description": "", "config": config}
        return self._write("POST", kind, item)

    def change(self, kind: Kind, before: Resource, config: dict[str, Any], *, enabled: bool) -> str:
        """Replace a resource that was just read; returns its signature as `create` does.

        Raises:
            WriteRefusedError: the gateway did not take it: the signature is old, for one.
            GatewayError: it cannot be asked, or refuses the key.
        """
        item = {
            "enabled": enabled,
            "description": before.description,
            "config": config,
            "signature": before.signature,
        }
        if before.name:  # a singleton has none
            item["name"] = before.name
        return self._write("PUT", kind, item)

    def scan(self, what: str) -> None:
        """Let the gateway read its files again.

        Args:
            what: `config` or `projects`.

        Raises:
            GatewayError: it cannot be asked, or refuses.
        """
        answer = self._calls.ask("POST", f"{_API}scan/{what}")
        self._check(answer, f"scan/{what}")
        told = answer.json()
        if isinstance(told, dict) and told.get("success") is False:
            raise GatewayError(f"{self.url} did not scan its {what}: {self._problem(told)}")

    def log(self, prefix: str, limit: int) -> list[dict[str, Any]]:
        """Lines of the gateway's log, such as `{"timestamp": ms, "loggerName", "message"}`.

        Args:
            prefix: of the logger's name; empty for all.
            limit: at most so many lines. Without it the gateway would answer with all it has.

        Raises:
            GatewayError: it cannot be asked, or refuses.
        """
        query = {"limit": str(limit)}
        if prefix:
            query["loggerName[sw]"] = prefix
        try:
            told = self._get("logs", query)
        except NoResourceError:  # of a type of resources, and this is none
            raise GatewayError(f"{self.url} has no log at {_API}logs: it cannot be read") from None
        items = told.get("items") if isinstance(told, dict) else None
        return [each for each in items or [] if isinstance(each, dict)]

    def _get(self, path: str, query: dict[str, str] | None = None) -> Any:
        answer = self._calls.ask("GET", _API + path, query)
        self._check(answer, path)
        return answer.json()

    def _write(self, method: str, kind: Kind, item: dict[str, Any]) -> str:
        path = f"resources/{kind.path}"
        answer = self._calls.ask(method, _API + path, body=[item])
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND}:
            self._check(answer, path)
        told = answer.json()
        # 200 alone says nothing: `success` stands within.
        is_taken = isinstance(told, dict) and told.get("success") is True
        if answer.status not in _GOOD or not is_taken:
            where = f"{kind.type} {item.get('name', '')!r}" if item.get("name") else kind.type
            raise WriteRefusedError(
                f"{self.url} did not take the {where} (HTTP {answer.status}): {self._problem(told)}"
            )
        changes = told.get("changes")
        first = changes[0] if isinstance(changes, list) and changes else {}
        return str(first.get("newSignature") or "") if isinstance(first, dict) else ""

    def _check(self, answer: Answer, path: str) -> None:
        """Raise what an answer means that is none.

        Raises:
            GatewayKeyError: 401 or 403.
            NoResourceError: 404.
            GatewayError: another status beside 200 to 299.
        """
        status = answer.status
        if status in _GOOD:
            return
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise GatewayKeyError(self._key_trouble(status))
        if status == _NOT_FOUND:
            raise NoResourceError(
                f"{self.url} knows no {path}: is the module installed there, in a version for "
                "Ignition 8.3, and running?"
            )
        raise GatewayError(
            f"{self.url} refuses {path} (HTTP {status}): {self._problem(answer.json())}"
        )

    def _key_trouble(self, status: int) -> str:
        if not self._calls.has_key:
            text = f"{self.url} wants an API key (HTTP {status}): give it with --key-file"
        elif status == _FORBIDDEN:
            text = (
                f"{self.url} knows the API key and forbids this (403): let its security levels "
                "include what the gateway asks for reading and writing"
            )
        else:
            text = f"{self.url} does not take the API key (HTTP {status}): make one there anew"
        if self._calls.has_key and not self._calls.is_secure:
            text += "; keys may be good for https alone: try the gateway's https address"
        return text

    def _tell_age(self) -> None:
        """Say of a gateway without gateway-info what it is.

        Raises:
            OldGatewayError: Ignition 8.1 or older.
            NoGatewayError: no Ignition gateway.
        """
        answer = self._calls.ask("GET", "/system/gwinfo")
        text = answer.body[:4096].decode("utf-8", "replace")
        if answer.status not in _GOOD or "=" not in text or "<" in text:
            raise NoGatewayError(
                f"{self.url} answers, and not as an Ignition gateway: correct --gateway"
            )
        found = _VERSION.search(text)
        version = found[1] if found else ""
        raise OldGatewayError(
            f"{self.url} is Ignition {version or 'before 8.3'}: its REST API begins with 8.3; "
            "use --script, and the gateway's pages",
            version,
        )

    def _problem(self, told: Any) -> str:
        return self._calls.quoted(problem_of(told))

    def _strange(self, path: str) -> GatewayError:
        return GatewayError(f"{self.url} answers {path} in a form that is not known here")

    @staticmethod
    def _is_cut(told: dict[str, Any], items: int) -> bool:
        """Whether a list says that more matches than it gives."""
        metadata = told.get("metadata")
        matching = metadata.get("matching") if isinstance(metadata, dict) else None
        return isinstance(matching, int) and matching > items


def problem_of(told: Any) -> str:
    """What a refusal says: `problem`, with the messages of its fields; never empty."""
    problem = told.get("problem", told) if isinstance(told, dict) else None
    if isinstance(problem, str) and problem:
        return problem
    if not isinstance(problem, dict):
        return "it does not say why"
    texts = [problem.get("message"), *_listed(problem, "messages")]
    for each in _listed(problem, "fieldMessages"):
        if isinstance(each, dict):
            texts += [f"{each.get('fieldName')}: {text}" for text in _listed(each, "messages")]
    said = "; ".join(each for each in texts if isinstance(each, str) and each)
    return said or "it does not say why"


def _listed(told: dict[str, Any], key: str) -> list[Any]:
    found = told.get(key)
    return found if isinstance(found, list) else []
