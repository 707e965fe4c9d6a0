"""Service principals, and a secret of one that goes into a file and nowhere else."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError, WorkspaceError
from consumer.setup.databricks.found import Principal
from consumer.setup.databricks.sdk import asking

if TYPE_CHECKING:
    from pathlib import Path

    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.iam import ServicePrincipal

_RIGHT: Final = "an administrator of the workspace"


class Principals:
    """The service principals of a workspace.

    Args:
        client: of the SDK.
    """

    def __init__(self, client: WorkspaceClient) -> None:
        self._client = client

    def by_application_id(self, application_id: str) -> Principal | None:
        """The one with an application id; None if the workspace has none."""
        wanted = application_id.lower()
        found = self._listed(f'applicationId eq "{wanted}"')
        # A workspace that does not know the filter would answer with all of them.
        return next((each for each in found if each.application_id.lower() == wanted), None)

    def by_name(self, name: str) -> Principal | None:
        """The one with a display name; None if the workspace has none.

        Raises:
            WorkspaceError: there are several, for such names need not be unique.
        """
        found = [each for each in self._listed(f'displayName eq "{name}"') if each.name == name]
        if len(found) > 1:
            ids = ", ".join(each.application_id for each in found)
            raise WorkspaceError(
                f"{len(found)} service principals are called {name}: {ids}",
                "write the application id of the right one as zerobus.client_id",
            )
        return found[0] if found else None

    def create(self, name: str) -> Principal:
        """Make one; the workspace gives it its application id."""
        with asking(f"making service principal {name}", right=_RIGHT):
            return _principal(self._client.service_principals.create(display_name=name))

    def secrets(self, principal: Principal) -> int:
        """How many secrets it has; they themselves cannot be read again by anybody."""
        with asking(f"listing the secrets of {principal.name}", right=_RIGHT):
            return len(list(self._client.service_principal_secrets_proxy.list(principal.number)))

    def secret_into(self, file: Path, principal: Principal) -> None:
        """Make a secret and write it into a new file of mode 600.

        The file is there before the secret is: a secret that cannot be kept is not made. One
        that could not be written nevertheless is deleted again. An empty file, which an
        interrupted run left, is taken; anything else is left as it is.

        Raises:
            ConfigurationError: the file cannot be made, or something is in it.
            WorkspaceError: the secret was not made.
        """
        target, was_made = _empty_file(file)
        try:
            self._make_secret(file, target, principal)
        except BaseException:
            if was_made:
                with contextlib.suppress(OSError):
                    file.unlink()
            raise
        finally:
            os.close(target)

    def _make_secret(self, file: Path, target: int, principal: Principal) -> None:
        with asking(f"making a secret for {principal.name}", right=_RIGHT):
            made = self._client.service_principal_secrets_proxy.create(principal.number)
        if not made.secret:
            raise WorkspaceError(
                "the workspace answered without a secret", "make one by hand, and keep it"
            )
        try:
            _write(target, made.secret)
        except OSError as error:
            os.ftruncate(target, 0)
            self._take_back(principal, made.id or "")
            raise WorkspaceError(
                f"{file} cannot be written: {error.strerror}; the secret was deleted again",
                "make room, and run this again",
            ) from None

    def _take_back(self, principal: Principal, secret_id: str) -> None:
        with asking(f"deleting the secret of {principal.name} that was lost", right=_RIGHT):
            self._client.service_principal_secrets_proxy.delete(principal.number, secret_id)

    def _listed(self, condition: str) -> list[Principal]:
        with asking("listing service principals", right=_RIGHT):
            return [_principal(p) for p in self._client.service_principals.list(filter=condition)]


def holds_secret(file: Path) -> bool:
    """Whether a file is there and something is in it; it is not read.

    Raises:
        ConfigurationError: that cannot be found out.
    """
    try:
        return file.stat().st_size > 0 or not file.is_file()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be looked at: {error.strerror}") from None


def _empty_file(file: Path) -> tuple[int, bool]:
    """An open file of mode 600 with nothing in it, and whether it was made now."""
    try:
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(
            f"{file} for the secret cannot be made: {error.strerror}"
        ) from None
    try:
        target = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(
            f"{file} for the secret cannot be opened: {error.strerror}"
        ) from None
    is_there = os.fstat(target)
    if not stat.S_ISREG(is_there.st_mode) or is_there.st_size:
        os.close(target)
        raise ConfigurationError(f"{file} is there already, and is not overwritten: move it away")
    os.fchmod(target, 0o600)
    return target, False


def _write(target: int, secret: str) -> None:
    rest = secret.encode() + b"\n"
    while rest:
        rest = rest[os.write(target, rest) :]
    os.fsync(target)


def _principal(found: ServicePrincipal) -> Principal:
    return Principal(found.id or "", found.application_id or "", found.display_name or "")
