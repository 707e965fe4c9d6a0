"""What is in monitoring/, and what its expressions in PromQL ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import promql_parser
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = Path(__file__).parents[2] / "monitoring"
ALERTS = PLACE / "alerts.yml"
TESTS = PLACE / "alerts_test.yml"
SCRAPING = PLACE / "prometheus.yml"
DASHBOARD = PLACE / "dashboard.json"

_OF_GRAFANA = {"$__rate_interval": "1m", "$instance": ".*"}


class Asked(NamedTuple):
    """What an expression asks for.

    Args:
        metrics: by name, with the labels that are compared and their values.
        labels: by which it groups or matches.
    """

    metrics: list[tuple[str, dict[str, str]]]
    labels: set[str]


def rules() -> list[dict[str, Any]]:
    """All alerting rules."""
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Its panels that show something."""
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def for_prometheus(expression: str) -> str:
    """An expression of the dashboard with what Grafana would put into it."""
    for name, value in _OF_GRAFANA.items():
        expression = expression.replace(name, value)
    return expression


def dashboard_expressions() -> list[tuple[str, str, str]]:
    """(panel, expression as Prometheus gets it, legend) of all targets and annotations."""
    found = [
        (panel["title"], for_prometheus(target["expr"]), target["legendFormat"])
        for panel in panels()
        for target in panel["targets"]
    ]
    found += [
        (each["name"], for_prometheus(each["expr"]), each["textFormat"])
        for each in dashboard()["annotations"]["list"]
    ]
    for each in dashboard()["templating"]["list"]:
        if each["type"] == "query":
            values = re.fullmatch(r"label_values\((\w+), (\w+)\)", each["query"]["query"])
            found.append((each["name"], values[1], f"{{{{{values[2]}}}}}"))
    return found


def asked(expression: str) -> Asked:
    """Parse an expression.

    Raises:
        Exception: it is no PromQL.
    """
    found = Asked([], set())
    for node in _nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            labels = {each.name: each.value for each in node.matchers.matchers}
            found.metrics.append((node.name, labels))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            found.labels.update(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            matching = node.modifier.matching
            found.labels.update(matching.labels if matching else [])
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (below := getattr(node, name, None)) is not None:
            yield from _nodes(below)
    for below in getattr(node, "args", None) or []:
        yield from _nodes(below)
