"""What is answered over HTTP: health, metrics and status, the API and its page, and ingest."""

from consumer.http.server import HttpServer

__all__ = ["HttpServer"]
