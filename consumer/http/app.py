"""The application: what is answered on which path, and by whom it may be asked."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations

from consumer.http import actions, api, diagnostics, drill, session, stream
from consumer.http.access import Access, needs
from consumer.http.errors import add_handlers, answer
from consumer.http.guard import Guard
from consumer.http.ingest import INGEST_PATHS, Sender, ingest_routes, ingest_schema
from consumer.http.keys import Role
from consumer.http.page import page_router
from consumer.http.together import Together
from consumer.http.version import PRODUCT, VERSION
from consumer.monitor import add_metrics, status_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from consumer.http.stream import Hub
    from consumer.monitor import Looking
    from consumer.pipeline import Consumer

READS: Final = [Depends(needs(Role.READER))]
"""Dependencies of routes that only read."""


def make_app(consumer: Consumer, access: Access, looking: Looking, hub: Hub) -> ASGIApp:
    """The application that serves one consumer.

    Args:
        consumer: what is asked about.
        access: decides who may ask.
        looking: answers what is asked of nodes, tags and the whole.
        hub: tells those who listen.
    """
    add_metrics(consumer)
    app = FastAPI(
        title=PRODUCT,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.access = access
    app.state.consumer = consumer
    app.state.looking = looking
    app.state.hub = hub
    add_handlers(app)
    _add_open_routes(app, consumer)
    _add_routes(app, consumer)
    for each in (session, api, stream, actions, drill, diagnostics):
        app.include_router(each.router)
    source = consumer.configuration.http.source_system_id

    def sender_of(request: Request) -> Sender:
        caller = access.allow(request, Role.INGEST)
        return Sender(caller.name, caller.source_system_id or source)

    app.include_router(ingest_routes(consumer, sender_of))
    app.include_router(page_router())
    return Guard(app, access, INGEST_PATHS)


def _add_open_routes(app: FastAPI, consumer: Consumer) -> None:
    """Routes that anybody may ask."""

    # Not on a thread, of which there are forty: others may wait for the spool on all of them.
    @app.get("/healthz", tags=["health"])
    async def healthz() -> Any:
        """Whether the process does its work; 503 means: restart it."""
        return _verdict(consumer.alive, {"failure": _text(consumer.failure)})

    @app.get("/readyz", tags=["health"])
    def readyz() -> Any:
        """Whether rows flow from every server to every table."""
        waiting = [c.server.name for c in consumer.connections if not c.connected.is_set()]
        closed = [each.table for each in consumer.deliveries if not each.is_open]
        gate = consumer.back_pressure.why_closed
        details = {
            "failure": _text(consumer.failure),
            "gate": gate,
            "drill": consumer.drill.why_offline,
            "not_connected": waiting,
            "stream_state": str(consumer.main_delivery.stats().state),
            "not_open": closed,
        }
        return _verdict(consumer.ready, details)

    @app.get("/version", tags=["health"])
    async def version() -> Any:
        """What this program is called, and its version."""
        return answer({"product": PRODUCT, "version": VERSION})


def _add_routes(app: FastAPI, consumer: Consumer) -> None:
    """Routes of which the whole is described in docs/operating.md."""

    async def may_see_metrics(request: Request) -> None:
        access: Access = request.app.state.access
        if not access.metrics_open:
            access.allow(request, Role.READER)

    @app.get("/metrics", tags=["health"], dependencies=[Depends(may_see_metrics)])
    def metrics() -> Response:
        """Prometheus text format."""
        registry = consumer.telemetry.registry
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    status = Together(lambda: answer(status_of(consumer)))

    @app.get("/status", tags=["health"], dependencies=READS)
    async def show_status() -> Any:
        """Everything that is counted, as one JSON object."""
        return await status.get()

    @app.get("/openapi.json", include_in_schema=False, dependencies=READS)
    def openapi() -> Any:
        schema = app.openapi()
        return answer({**schema, "paths": schema["paths"] | ingest_schema()})


def _verdict(fine: bool, details: dict[str, Any]) -> Any:
    body = {"status": "ok" if fine else "failing", **{k: v for k, v in details.items() if v}}
    return answer(body, HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE)


def _text(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"
