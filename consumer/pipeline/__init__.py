"""The pipeline: what one consumer consists of, and what its decoding thread does."""

from consumer.pipeline.consumer import Consumer

__all__ = ["Consumer"]
