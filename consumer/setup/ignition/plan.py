"""What would be written into a gateway: for each resource, the fields that differ.

Nothing is known here of the fields that are not to be set: a resource is read, changed in them,
and written back whole; a new one begins with the gateway's own defaultConfig.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.errors import ResourceChangedError, UnknownFieldError, WriteRefusedError
from consumer.setup.ignition.resources import Kind, Resource, is_reference, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.setup.ignition.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource as it should be: enabled, with these fields; the others are left alone."""

    kind: Kind
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One resource that would be written.

    Attributes:
        before: as it was read; None if there is none yet.
        config: whole, as it would be.
        fields: those of it that are to be set.
        why: a reason to write it although nothing differs; else empty.
    """

    kind: Kind
    name: str
    before: Resource | None
    config: dict[str, Any]
    fields: Mapping[str, Any]
    why: str = ""

    def lines(self) -> list[str]:
        """The difference, a line for each field, below one for the resource."""
        verb = "change" if self.before else "create"
        if self.before and self.why and not self._differing():
            return [f"save again {self.kind.type} {self.name!r}: {self.why}"]
        lines = [f"{verb} {self.kind.type} {self.name!r}"]
        if self.before is not None and not self.before.enabled:
            lines.append("  enabled: False -> True")
        for name in self._differing():
            now = shown(name, self.config[name])
            if self.before is None:
                lines.append(f"  {name}: {now}")
            else:
                lines.append(f"  {name}: {shown(name, self.before.config.get(name))} -> {now}")
        return lines

    def _differing(self) -> list[str]:
        before = self.before
        if before is None:
            return list(self.fields)
        return [name for name in self.fields if before.config.get(name) != self.config[name]]


def plan_step(gateway: Gateway, wanted: Wanted, *, why: str = "") -> Step | None:
    """What it takes to make one resource as wanted; None if it is so already.

    Args:
        gateway: is read, not written.
        wanted: the resource.
        why: a reason to write it in any case.

    Raises:
        UnknownFieldError: the gateway knows a field not, or holds another kind of value in it, or
            a number that cannot be written back.
        GatewayError: it cannot be asked, or refuses.
    """
    found = {each.name: each for each in gateway.resources(wanted.kind)}
    before = found.get(wanted.name)
    known = gateway.default_config(wanted.kind) if before is None else before.config
    if before is not None and wanted.fields.keys() - known.keys():
        known = gateway.default_config(wanted.kind) | known
    problems = list(_unknown(wanted, known))
    if problems:
        raise UnknownFieldError(
            f"{gateway.url}: {'; '.join(problems)}; nothing was written, because what is not known "
            "is not invented: look at this resource on the gateway's pages"
        )
    config = {**(before.config if before else known), **wanted.fields}
    try:
        json.dumps(config, allow_nan=False)
    except ValueError:
        raise UnknownFieldError(
            f"{gateway.url}: {wanted.kind.type} {wanted.name!r} holds a number without an end, "
            "which no JSON holds; nothing was written"
        ) from None
    is_so = before is not None and before.enabled and before.config == config
    if is_so and not why:
        return None
    return Step(wanted.kind, wanted.name, before, config, wanted.fields, why)


def _unknown(wanted: Wanted, known: Mapping[str, Any]) -> Iterable[str]:
    for name, value in wanted.fields.items():
        where = f"{wanted.kind.type} {wanted.name!r}"
        if name not in known:
            yield f"{where} has no field {name}"
        elif not _fits(known[name], value):
            yield f"{where} holds {shown(name, known[name])} in {name}, not a {_sort(value)}"


def _fits(held: Any, value: Any) -> bool:
    """Whether a value is of the kind that a field holds; an empty field tells nothing."""
    if held is None or is_reference(value):  # a secret has one form, whatever was there
        return True
    return _sort(held) == _sort(value)


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "list"
    return "text" if isinstance(value, str) else "value"


def write_step(gateway: Gateway, step: Step) -> None:
    """Write one resource, and read it back.

    Raises:
        ResourceChangedError: somebody changed it since it was read; nothing was written.
        WriteRefusedError: the gateway did not take it, or holds something else afterwards.
        GatewayError: it cannot be asked, or refuses.
    """
    try:
        if step.before is None:
            gateway.create(step.kind, step.name, step.config, enabled=True)
        else:
            gateway.change(step.kind, step.before, step.config, enabled=True)
    except WriteRefusedError:
        now = gateway.find(step.kind, step.name)
        signature = step.before.signature if step.before else None
        if (now.signature if now else None) != signature:
            raise ResourceChangedError(
                f"somebody changed the {step.kind.type} {step.name!r} in between; nothing was "
                "written into it"
            ) from None
        raise
    held = gateway.find(step.kind, step.name)
    wrong = [
        name for name in step.fields if held is None or held.config.get(name) != step.config[name]
    ]
    if held is None or not held.enabled or wrong:
        raise WriteRefusedError(
            f"{gateway.url} took the {step.kind.type} {step.name!r}, and holds it otherwise: "
            f"{', '.join(wrong) or 'it is not enabled'}; look at it on the gateway's pages"
        )
