"""Refusals and failures as JSON: `{"error": ..., "detail": ...}`, one line that mends."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from consumer.errors import LetterError, SpoolError
from consumer.foreign import escaped, json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

NAMES: Final = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "bad_request",
    HTTPStatus.MISDIRECTED_REQUEST: "wrong_host",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
"""The key `error` of each status; `failure` for all others."""

_MOST_DETAIL: Final = 500


class Refused(HTTPException):
    """A request is not answered. The text says why and how to mend it; it quotes no secret."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))


def answer(body: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Any:
    """JSON in ASCII: people look at it in a terminal, and it quotes what others wrote."""
    return Response(json_text(body), status, dict(headers or {}), media_type="application/json")


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Any:
    """The answer to a request that is refused."""
    try:
        name = NAMES.get(HTTPStatus(status), "failure")
    except ValueError:
        name = "failure"
    return answer({"error": name, "detail": escaped(detail)[:_MOST_DETAIL]}, status, headers)


def add_handlers(app: FastAPI) -> None:
    """Let everything that goes wrong be answered in the same form."""

    async def on_refused(_: Request, error: Exception) -> Any:
        assert isinstance(error, HTTPException)
        return refusal(error.status_code, str(error.detail), error.headers)

    async def on_invalid(_: Request, error: Exception) -> Any:
        assert isinstance(error, RequestValidationError)
        return refusal(HTTPStatus.BAD_REQUEST, _wrong(error))

    async def on_spool(_: Request, error: Exception) -> Any:
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})

    async def on_letter(_: Request, error: Exception) -> Any:
        assert isinstance(error, LetterError)
        status = HTTPStatus.NOT_FOUND if error.is_missing else HTTPStatus.BAD_REQUEST
        return refusal(status, str(error))

    async def on_defect(_: Request, __: Exception) -> Any:
        detail = "an unexpected error, which is a defect; the log has more of it"
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    app.add_exception_handler(Exception, on_defect)
    app.add_exception_handler(HTTPException, on_refused)
    app.add_exception_handler(LetterError, on_letter)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(SpoolError, on_spool)


def _wrong(error: RequestValidationError) -> str:
    """Name what is wrong with a request, without its values: one of them may be a secret."""
    first = error.errors()[0]
    kind, *location = (str(part) for part in first["loc"])
    where = ".".join(location)
    if first["type"] == "json_invalid":
        return "the body is not JSON"
    if first["type"] == "missing":
        return f"{kind} {where}: missing; add it" if where else f"the {kind} is missing"
    return f"{kind} {where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
