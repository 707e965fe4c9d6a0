"""Every error this package raises on purpose, so that a reader sees them all at once."""

from __future__ import annotations

import enum


class SparkplugZerobusError(Exception):
    """Base of all deliberate errors. The text says what, where and how to mend it."""


class ConfigurationError(SparkplugZerobusError):
    """The configuration cannot be used. One line that names the key; exit code 2."""


class SpoolError(SparkplugZerobusError):
    """The spool file cannot be opened, read or written."""


class LetterError(SpoolError):
    """A dead letter is asked for that is not there, or that cannot be tried again.

    Attributes:
        is_missing: it is not there.
    """

    def __init__(self, text: str, *, is_missing: bool) -> None:
        super().__init__(text)
        self.is_missing = is_missing


class SinkError(SparkplugZerobusError):
    """Zerobus refused something. `SinkFailure.kind` says whether trying again can help."""


class BrokerError(SparkplugZerobusError):
    """An MQTT server refused the connection or a subscription."""


class TlsFileError(BrokerError):
    """A file of an MQTT server's `tls` cannot be used. Nothing was sent to the server.

    Attributes:
        key: which one, below the server: tls.ca_file, tls.cert_file or tls.key_file.
        what: the file, and what is wrong with it: a piece of a sentence.
    """

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{what}; {self._mend(key)}")
        self.key = key
        self.what = what

    def mend(self, where: str) -> str:
        """What to do about the file, as an imperative for people.

        Args:
            where: the server in the configuration, such as servers[0].
        """
        return self._mend(f"{where}.{self.key}")

    @staticmethod
    def _mend(key: str) -> str:
        more = ", with the key of the certificate, unencrypted" if key.endswith("key_file") else ""
        return f"let {key} name a PEM file that this user may read{more}"


class SpoolLocked(SpoolError):  # noqa: N818 - the state of the file, said as operators say it
    """Another consumer has the spool file open, or another program keeps it locked."""


class SpoolFull(SpoolError):  # noqa: N818 - see SpoolLocked
    """A batch does not fit: `spool.max_bytes` is reached. Nothing was written."""


class SpoolDiskFull(SpoolFull):
    """A batch does not fit: the disk has no room. Nothing was written."""


class SpoolDamaged(SpoolError):  # noqa: N818 - see SpoolLocked
    """Stored bytes are not what was written: a bad disk, or another program wrote them."""


class SpoolFileGone(SpoolError):  # noqa: N818 - see SpoolLocked
    """The spool's file, or its log, was deleted or replaced while it was in use.

    Attributes:
        kept: whether what was committed is in the file nevertheless, for the next run.
    """

    def __init__(self, text: str, *, kept: bool = False) -> None:
        super().__init__(text)
        self.kept = kept


class CaptureError(SparkplugZerobusError):
    """A file of captured messages cannot be read or written."""


class CaptureCut(CaptureError):  # noqa: N818 - the state of the file, said as operators say it
    """A file of captured messages has no end mark: its writing was cut off, or its end is lost."""


class ResourceFileError(SparkplugZerobusError):
    """A file of an Ignition project, or a backup of it, cannot be read or written."""


class GatewayError(SparkplugZerobusError):
    """An Ignition gateway cannot be asked, or refuses."""


class NoGatewayError(GatewayError):
    """Nobody answers where the gateway should, or not as one."""


class GatewayKeyError(GatewayError):
    """The gateway refuses the API key, or wants one."""


class OldGatewayError(GatewayError):
    """The gateway is older than its REST API: an Ignition before 8.3.

    Attributes:
        version: as the gateway says it; empty if it does not.
    """

    def __init__(self, text: str, version: str) -> None:
        super().__init__(text)
        self.version = version


class NoResourceError(GatewayError):
    """The gateway knows no such address: a module is missing there."""


class WriteRefusedError(GatewayError):
    """The gateway did not take what was written."""


class ResourceChangedError(GatewayError):
    """Somebody else has changed a resource since it was read. Nothing was written into it."""


class UnknownFieldError(GatewayError):
    """The gateway lacks a field that is to be set, or holds another kind of value in it."""


class NullInRequiredColumnError(SparkplugZerobusError):
    """A NOT NULL column holds a null: refused before the encoder, which would not notice."""


class FailureKind(enum.StrEnum):
    """Classes of what Zerobus refuses or ends, by what has to follow."""

    RETRIABLE = "retriable"
    """Passes by itself: the network, the service, a rate limit."""
    ENDED = "ended"
    """The service ended a stream in order, as it does from time to time.

    No failure, unless it gave no acknowledgement and ended within seconds.
    """
    AUTHENTICATION = "authentication"
    """Token, credentials or grants are refused. A new token may cure it."""
    CONTRACT = "contract"
    """Table and descriptor do not fit, seen when the stream is opened."""
    POISON = "poison"
    """A record of the stream is refused; the ones behind it wait."""
    PERMANENT = "permanent"
    """Stays until somebody changes something: no such table, unsupported feature."""
    TOO_LARGE = "too_large"
    """A call is larger than the service takes."""


class SinkFailure(SinkError):  # noqa: N818 - `kind` says which sort of error it is
    """Zerobus, or the way to it, failed. The text is the first one that was given."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class WorkspaceError(SparkplugZerobusError):
    """A Databricks workspace cannot be asked, or refused what it was asked for.

    Attributes:
        what: what went wrong, a piece of a sentence.
        mend: what to do about it, an imperative for people.
    """

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend
