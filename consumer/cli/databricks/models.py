"""`sparkplug-zerobus databricks models`: views for analysis, printed or made in the workspace."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.cli.databricks.options import opened, workspace_options
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_text, progress
from consumer.config import configured_layout
from consumer.errors import ConfigurationError
from consumer.rows import DEFAULT_LAYOUT
from consumer.setup import (
    MOST_MEMBERS,
    MOST_TEMPLATES,
    Statements,
    deduplicated_name,
    instances_name,
    instances_view,
    known_locally,
    known_templates,
    latest_view,
    metadata_view,
    one_statement,
    template_models,
    template_views,
    trend_name,
    trend_view,
    view_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.config import Zerobus
    from consumer.setup import Known, Row, TemplateModel

_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus databricks models --config consumer.yaml > models.sql
  sparkplug-zerobus databricks models --config consumer.yaml --yes
  sparkplug-zerobus databricks models --config demo-data/sparkplug-zerobus.yaml \\
      --metadata demo-data/ignition_demo/scada_data/tag_metadata
"""


def _checked_prefix(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise click.BadParameter("letters, digits and underscores, at most 40, no digit first")
    return value


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, zerobus is used. Its secrets are not read.")
@click.option("--yes", is_flag=True, help="Make the views. Without it their SQL is printed.")
@workspace_options
@click.option(
    "--metadata",
    "metadata_path",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Directory of a copy of the table tag_metadata, asked instead of the workspace.",
)
@click.option(
    "--prefix",
    default="udt_",
    show_default=True,
    callback=_checked_prefix,
    help="What the names of the views of templates begin with.",
)
def command(
    *,
    config_path: Path,
    yes: bool,
    profile: str | None,
    warehouse: str,
    timeout: float,
    metadata_path: Path | None,
    prefix: str,
) -> None:
    """Print SQL of views for analysis, or make them in the workspace.

    For all tags: latest values, and trends with quality. For each template (in Ignition:
    UDT) that births have named: views with one column per member. Which templates there
    are is asked of the table tag_metadata. Run it again when templates have changed.
    """
    configuration = config.load(config_path, os.environ, secrets=False)
    zerobus = configuration.zerobus
    if configured_layout(configuration.normalize) is not DEFAULT_LAYOUT:
        raise ConfigurationError(
            f"{config_path}: normalize: the views are for all columns under their own names; with "
            "normalize.profile or normalize.columns there are those of `ddl` only"
        )
    is_asked = bool(zerobus.metadata_table) and metadata_path is None
    with contextlib.ExitStack() as exits:
        statements = None
        if yes or is_asked:
            workspace = opened(zerobus, profile, timeout)
            chosen = workspace.warehouse(warehouse)
            echo(f"{zerobus.workspace_url}: SQL runs on warehouse {chosen}", err=True)
            tell = exits.enter_context(progress())
            statements = Statements(workspace.client, chosen, timeout=timeout, tell=tell)
        views = [*_views_of_tags(zerobus)]
        views += _views_of_templates(zerobus, statements, metadata_path, prefix)
        if yes and statements is not None:
            _make(views, statements)
            return
    echo_text("\n".join(views))


def _make(views: list[str], statements: Statements) -> None:
    """Make views, each after those that it reads."""
    for view in views:
        name = view_name(view)
        right = f"CREATE TABLE on schema {name.rpartition('.')[0]}, or to own the view"
        statements.run(one_statement(view), f"making view {name}", right=right)
        echo(f"made {name}")


def _views_of_tags(zerobus: Zerobus) -> Iterator[str]:
    """Views of all tags, and those that they and the views of templates read."""
    table, metadata = zerobus.table, zerobus.metadata_table
    yield latest_view(table)
    if metadata:
        yield metadata_view(metadata)
        yield instances_view(metadata)
    yield trend_view(table, metadata)


def _views_of_templates(
    zerobus: Zerobus, statements: Statements | None, metadata_path: Path | None, prefix: str
) -> Iterator[str]:
    table, metadata = zerobus.table, zerobus.metadata_table
    if not metadata:
        _note("no views of templates: the configuration has no zerobus.metadata_table")
        return
    if metadata_path is not None:
        known = known_locally(metadata_path)
    else:
        assert statements is not None
        known = known_templates(_asking(statements, metadata), metadata)
    reserved = [name.rpartition(".")[2] for name in _taken(zerobus)]
    models = template_models(known.declared, prefix, reserved)
    _tell(known, models)
    for model in models:
        yield from template_views(table, metadata, model)


def _asking(statements: Statements, metadata: str) -> Callable[[str], list[Row]]:
    """Asks the workspace for what is in tag_metadata."""
    what, right = f"reading {metadata}", f"SELECT on table {metadata}"
    return lambda query: statements.run(query, what, right=right)


def _taken(zerobus: Zerobus) -> Iterator[str]:
    """Names of the tables and of what else is made of them."""
    table, metadata = zerobus.table, zerobus.metadata_table
    yield from (table, f"{table}_latest", trend_name(table), deduplicated_name(table))
    yield f"{table}_with_unit"
    yield from (metadata, f"{metadata}_current", instances_name(metadata))
    if zerobus.events_table:
        yield from (zerobus.events_table, f"{zerobus.events_table}_latest")


def _tell(known: Known, models: list[TemplateModel]) -> None:
    """What the views do not show, on stderr."""
    templates = len({each.template for each in known.declared})
    if not templates:
        _note("no views of templates: no birth has told of any")
    if templates > MOST_TEMPLATES:
        _note(f"{templates - MOST_TEMPLATES} templates have no views: the last seen of {templates}")
    if len(known.declared) == MOST_MEMBERS:
        _note(f"templates have {MOST_MEMBERS} members or more: later ones are left out")
    for model in models:
        if model.left_out:
            _note(f"{model.view}: {model.left_out} columns are left out, of the last seen members")
    if known.untold:
        _note(
            f"{known.untold} tags of templates are in no view: an earlier release did not write "
            "their instances. Their next births do"
        )
    if known.too_long:
        _note(f"{known.too_long} tags are left out: their names are too long")
    if known.nameless:
        _note(f"{known.nameless} tags are in instances that name no template, which have no view")


def _note(text: str) -> None:
    echo(text, err=True)
