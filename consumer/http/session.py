"""Signing in and out: a browser sends the key once, and a cookie from then on."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations

from consumer.http.access import SESSION_SECONDS
from consumer.http.errors import answer
from consumer.http.keys import Role
from consumer.http.version import PRODUCT, VERSION

if TYPE_CHECKING:
    from consumer.http.access import Access

router: Final = APIRouter(prefix="/api/session", tags=["session"])


class SignIn(BaseModel):
    """The key of who signs in."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: SecretStr = Field(max_length=4096)


@router.get("")
async def who_am_i(request: Request) -> Any:
    """Who asks, and whether a key is needed at all."""
    access: Access = request.app.state.access
    caller = access.caller(request)
    if caller is None:
        return answer(_told(access, None, None, None))
    return answer(_told(access, caller.name, caller.role, caller.until))


@router.post("")
async def sign_in(request: Request, given: SignIn) -> Any:
    """Check a key, and give a cookie that is good for 12 hours."""
    access: Access = request.app.state.access
    access.check_browser(request)
    if not access.needs_key:
        return await who_am_i(request)
    address = request.client.host if request.client else ""
    key = access.key(given.key.get_secret_value(), address)
    if key.role is Role.INGEST:
        access.refuse(
            HTTPStatus.FORBIDDEN,
            f"the key {key.name!r} is for sending values; the page needs a reader or an operator",
        )
    value, until = access.sign_in(key)
    response: Response = answer(_told(access, key.name, key.role, until))
    response.set_cookie(
        access.cookie,
        value,
        max_age=SESSION_SECONDS,
        path="/",
        secure=access.is_secure,
        httponly=True,
        samesite="strict",
    )
    return response


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(request: Request) -> Response:
    """End the session of the cookie; without one nothing happens."""
    access: Access = request.app.state.access
    access.check_browser(request)
    access.sign_out(request)
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.delete_cookie(access.cookie, path="/", httponly=True, samesite="strict")
    return response


def _told(
    access: Access, name: str | None, role: Role | None, until: float | None
) -> dict[str, Any]:
    return {
        "needed": access.needs_key,
        "name": name,
        "role": role,
        "until_ms": None if until is None else int(until * 1000),
        "product": PRODUCT,
        "version": VERSION,
    }
