"""Every error this package raises on purpose, so that a reader sees them all at once."""

from __future__ import annotations


class SparkplugZerobusError(Exception):
    """Base of all deliberate errors. The text says what, where and how to mend it."""


class ConfigurationError(SparkplugZerobusError):
    """The configuration cannot be used. One line that names the key; exit code 2."""


class SpoolError(SparkplugZerobusError):
    """The spool file cannot be opened, read or written."""


class SinkError(SparkplugZerobusError):
    """Zerobus refused something; subclasses say whether trying again can help."""


class BrokerError(SparkplugZerobusError):
    """An MQTT server refused the connection or a subscription."""
