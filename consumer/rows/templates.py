"""The templates of tag_path and source_system_id: known placeholders, filled per tag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from consumer.errors import ConfigurationError

PLACEHOLDERS: Final = ("site", "server", "group_id", "edge_node_id", "device_id", "metric")

_MARK: Final = "\0"
"""Stands for the metric; MQTT forbids it in topics, hence in ids."""

_PART: Final = re.compile(r"\{([^{}]*)\}")
_PROVIDER: Final = re.compile(r"\[([^\]]*)\]")


def check_template(template: str) -> str:
    """Return the template if all its placeholders are known.

    Raises:
        ConfigurationError: it names a placeholder that does not exist, or has a stray brace.
    """
    for name in _PART.findall(template):
        if name not in PLACEHOLDERS:
            known = ", ".join("{" + known + "}" for known in PLACEHOLDERS)
            raise ConfigurationError(f"unknown placeholder {{{name}}}; known are {known}")
    if set("{}") & set(_PART.sub("", template)):
        raise ConfigurationError("a brace stands alone; placeholders look like {group_id}")
    return template


class PathTemplate:
    """A template whose levels are separated by slashes.

    A level whose placeholders all lack a value (a device id at node level, an empty site)
    is left out together with its slash.
    """

    def __init__(self, template: str, *, server: str, site: str) -> None:
        check_template(template)
        # Site and server are constant; the remaining fields are filled per tag.
        self._constant = {"server": server, "site": site}
        self._levels = template.split("/")
        self._formats: dict[bool, str] = {}

    def fill(self, group_id: str, edge_node_id: str, device_id: str | None, metric: str) -> str:
        """The text for one tag."""
        has_device = bool(device_id)
        form = self._formats.get(has_device)
        if form is None:
            form = self._formats[has_device] = self._form(has_device=has_device)
        return form.format(
            group_id=group_id, edge_node_id=edge_node_id, device_id=device_id, metric=metric
        )

    def texts(
        self, group_id: str, edge_node_id: str, device_id: str | None, metrics: list[str]
    ) -> list[str]:
        """The texts for many metrics of one node or device."""
        around = self.fill(group_id, edge_node_id, device_id, _MARK).split(_MARK)
        if len(around) == 1:
            return around * len(metrics)
        if len(around) == 2:
            before, after = around
            return [f"{before}{metric}{after}" for metric in metrics]
        return [metric.join(around) for metric in metrics]

    @staticmethod
    def provider_of(path: str) -> str | None:
        """The part between leading brackets, None if there is none."""
        match = _PROVIDER.match(path)
        return match.group(1) if match else None

    @staticmethod
    def name_in(path: str) -> str:
        """The last segment of the path of a tag, without a provider before it; may be empty."""
        provider = PathTemplate.provider_of(path)
        inner = path if provider is None else path[len(provider) + 2 :]
        return inner.rpartition("/")[2]

    def _form(self, *, has_device: bool) -> str:
        """A format string with the constant placeholders and empty levels resolved."""
        levels: list[str] = []
        for level in self._levels:
            names = _PART.findall(level)
            if names and not any(self._has_value(name, has_device=has_device) for name in names):
                continue
            levels.append(
                _PART.sub(lambda match: self._resolved(match, has_device=has_device), level)
            )
        return "/".join(levels)

    def _has_value(self, name: str, *, has_device: bool) -> bool:
        if name in self._constant:
            return bool(self._constant[name])
        return has_device if name == "device_id" else True

    def _resolved(self, match: re.Match[str], *, has_device: bool) -> str:
        """The text of the format string for a placeholder of the template."""
        name = match.group(1)
        if name in self._constant:
            return self._constant[name].replace("{", "{{").replace("}", "}}")
        return "" if name == "device_id" and not has_device else match.group(0)


@dataclass(frozen=True, slots=True)
class SourceNames:
    """How rows of one MQTT server are named: its name, its site, and the two templates."""

    server: str = "local"
    site: str = ""
    tag_path: str = "[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}"
    source_system_id: str = "{group_id}/{edge_node_id}"
