"""A secret that may change while the consumer runs, because its file does."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.config.files import FileError, read_secret

if TYPE_CHECKING:
    from collections.abc import Callable


class SecretSource:
    """Gives a secret as its file has it now. Thread-safe.

    A file that cannot be read, or is empty, leaves the secret as it was: whoever renews it may
    be in the middle of writing. So does a pipe, which can be read once.

    Args:
        secret: as it was when the configuration was read.
        file: where it came from; empty if from elsewhere: then it stays.
        key: of the file in the configuration, for `tell`.
        tell: is told, in a sentence, that the secret has changed or cannot be read; each trouble
            once. The sentence holds neither the secret nor the name of the file, in whose place
            the secret itself may stand by mistake.
    """

    def __init__(
        self, secret: str, *, file: str = "", key: str = "", tell: Callable[[str], None]
    ) -> None:
        self._secret = secret
        self._file = Path(file) if file else None
        self._key = key
        self._tell = tell
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._trouble = ""

    def current(self) -> str:
        """The secret."""
        if self._file is not None:
            with self._lock:
                self._look(self._file)
        return self._secret

    def _look(self, file: Path) -> None:
        try:
            found = os.stat(file)  # noqa: PTH116 - of what a link leads to, as a mounted secret is one
        except (OSError, ValueError) as error:
            self._complain(f"cannot be read: {getattr(error, 'strerror', None) or 'no such file'}")
            return
        seen = (found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size)
        if seen == self._seen or not stat.S_ISREG(found.st_mode):
            return
        try:
            secret = read_secret(file)
        except FileError as error:
            self._complain(str(error))
            return
        self._seen = seen
        self._trouble = ""
        if secret != self._secret:
            self._secret = secret
            self._tell(f"{self._key} has changed: it is used from now on")

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(f"{self._key} names a file that {trouble}; what was in it is still used")
