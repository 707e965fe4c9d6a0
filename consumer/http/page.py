"""The live page: its own files, out of the package, and nothing else.

Everything is read once, at the start, into a table of paths: no path leads to any other file.
The page asks the API for all that it shows, and needs a key for it where one is needed; the
files themselves say nothing of the plant.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import APIRouter
from fastapi.responses import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
"""Media types by the end of the name; what ends otherwise is not served."""


class PageFile(NamedTuple):
    """One file of the page.

    Attributes:
        body: its bytes.
        media_type: what it is.
        tag: changes with its bytes; an `ETag`.
    """

    body: bytes
    media_type: str
    tag: str


def page_files() -> dict[str, PageFile]:
    """All files of the page by path: `/` for the page, `/page/...` for what belongs to it."""
    folder = resources.files("consumer.http") / "page"
    found = {f"/page/{name}": file for name, file in _below(folder, "")}
    found["/"] = found.pop("/page/index.html")
    return found


def _below(folder: Traversable, prefix: str) -> list[tuple[str, PageFile]]:
    found = []
    for each in folder.iterdir():
        name = prefix + each.name
        if each.is_dir():
            found += _below(each, name + "/")
        elif media_type := _TYPES.get("." + each.name.rpartition(".")[2]):
            body = each.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found.append((name, PageFile(body, media_type, tag)))
    return found


def page_router() -> APIRouter:
    """Routes of the page's own files. Anybody may ask for them: they hold no data.

    Browsers keep them, but ask each time whether they are still the same: a page of an earlier
    release would not understand the answers of this one.
    """
    router = APIRouter(include_in_schema=False)
    for path, file in page_files().items():
        router.add_api_route(path, _sends(file), methods=["GET", "HEAD"])
    return router


def _sends(file: PageFile) -> Any:
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}

    async def send() -> Response:
        return Response(file.body, headers=headers, media_type=file.media_type)

    return send
