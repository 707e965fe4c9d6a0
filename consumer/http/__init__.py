"""The HTTP side door: health, readiness, metrics and status."""

from consumer.http.server import HttpServer

__all__ = ["HttpServer"]
