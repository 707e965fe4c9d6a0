"""Routes: /healthz and /readyz for supervisors, /metrics for Prometheus, /status for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from consumer.foreign import json_text
from consumer.http.ingest import configured_source, ingest_routes
from consumer.monitor import add_metrics, status_of

if TYPE_CHECKING:
    from consumer.pipeline import Consumer


def make_app(consumer: Consumer) -> FastAPI:
    """The application that serves one consumer."""
    add_metrics(consumer)
    app = FastAPI(title="sparkplug-zerobus", docs_url=None, redoc_url=None, openapi_url=None)

    # Not on a thread, of which there are forty: others may wait for the spool on all of them.
    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether the process does its work; 503 means: restart it."""
        return _verdict(consumer.alive, {"failure": _text(consumer.failure)})

    @app.get("/readyz")
    def readyz() -> Response:
        """Whether rows flow from every server to every table."""
        waiting = [c.server.name for c in consumer.connections if not c.connected.is_set()]
        closed = [each.table for each in consumer.deliveries if not each.is_open]
        gate = consumer.back_pressure.why_closed
        details = {
            "failure": _text(consumer.failure),
            "gate": gate,
            "not_connected": waiting,
            "stream_state": str(consumer.delivery.stats().state),
            "not_open": closed,
        }
        return _verdict(consumer.ready, details)

    @app.get("/metrics")
    def metrics() -> Response:
        """Prometheus text format."""
        registry = consumer.telemetry.registry
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/status")
    def show_status() -> Response:
        """Everything that is counted, as one JSON object."""
        return _json(status_of(consumer), status_code=200)

    app.include_router(ingest_routes(consumer, configured_source(consumer.configuration.http)))
    return app


def _verdict(fine: bool, details: dict[str, Any]) -> Response:
    body = {"status": "ok" if fine else "failing", **{k: v for k, v in details.items() if v}}
    return _json(body, status_code=200 if fine else 503)


def _json(body: dict[str, Any], *, status_code: int) -> Response:
    """JSON in ASCII: people look at it in a terminal, and it quotes what others wrote."""
    return Response(json_text(body), status_code, media_type="application/json")


def _text(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"
