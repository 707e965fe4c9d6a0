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


class SpoolLocked(SpoolError):  # noqa: N818 - the state of the file, said as operators say it
    """Another consumer has the spool file open."""


class SpoolFull(SpoolError):  # noqa: N818 - see SpoolLocked
    """A batch does not fit: `spool.max_bytes` is reached. Nothing was written."""


class SpoolDiskFull(SpoolFull):
    """A batch does not fit: the disk has no room. Nothing was written."""


class SpoolDamaged(SpoolError):  # noqa: N818 - see SpoolLocked
    """Stored bytes are not what was written: a bad disk, or another program wrote them."""


class NullInRequiredColumnError(SparkplugZerobusError):
    """A NOT NULL column holds a null: refused before the encoder, which would not notice."""
