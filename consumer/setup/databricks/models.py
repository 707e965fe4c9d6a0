"""SQL of the views for analysis: what all tags say, and templates with a column per member.

Pure texts in Databricks SQL. Which instances a tag belongs to comes from tag_metadata when a view
is asked, so new instances show by themselves; which columns there are is decided when the texts are
made (models_columns.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.foreign import escaped
from consumer.setup.databricks.models_columns import KEYS, NUMBERS
from consumer.setup.databricks.models_names import equals, identifier
from consumer.setup.ddl import current_name, latest_name, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.setup.databricks.models_columns import MemberColumn, TemplateModel

_MOST_LEVELS: Final = 16
"""Instances around a tag at most: sparkplug reads no more."""

_TOLD: Final = """properties LIKE '{"@instances":[{%'"""
"""What is told of the instances stands first in the properties."""

MOST_MEMBERS: Final = 50_000
"""Members of all templates together of which views are made."""
MOST_CHARACTERS: Final = 400
"""Of the names of a member and its template together."""
_LENGTH: Final = "char_length(template) + char_length(member)"

_RANK: Final = (
    "CASE e.quality WHEN 'GOOD' THEN 0 WHEN 'UNCERTAIN' THEN 1 WHEN 'BAD' THEN 2 ELSE 3 END"
)
_NO_VALUE: Final = 10
"""Added to the rank of a quality where the member has no value."""

_NOT_SHOWN: Final = "e.message_type = 'HOST' AND e.quality = 'STALE' AND NOT m.is_declared"
"""Of tags that births have left out: their end is not that of the instance."""


def instances_name(metadata: str) -> str:
    """Name of the view of the instances around tags; `metadata` is the table tag_metadata."""
    return f"{metadata}_instances"


def trend_name(table: str) -> str:
    """Name of the view for charts of all tags; `table` is tag_events."""
    return f"{table}_trend"


def instances_view(metadata: str) -> str:
    """A view with a row for each tag and each template instance around it.

    Args:
        metadata: full name of tag_metadata.
    """
    columns = "data_type, unit, valid_to IS NULL AS is_declared"
    return (
        "-- Which instances a tag belongs to, by the last birth that had it: new instances show\n"
        "-- by themselves. A member of a nested instance has a row for each of the instances.\n"
        + _view(instances_name(metadata), _instances(_newest(quoted(metadata)), columns))
    )


def members_query(metadata: str) -> str:
    """A query for what births have ever declared of templates: the fields of `Declared`.

    Of more than MOST_MEMBERS it gives those that were told first: an answer has a bound in the
    API for statements, too. Names of more than MOST_CHARACTERS are left out.

    Args:
        metadata: tag_metadata, as it is to be written in SQL.
    """
    rows = _instances(f"  SELECT * FROM {metadata}", "data_type, ingestion_timestamp")  # noqa: S608
    return (
        "SELECT template, member, data_type,\n"
        "  CAST(MIN(ingestion_timestamp) AS STRING) AS first_told\n"
        f"FROM (\n{rows}\n) AS members\n"
        f"WHERE {_LENGTH} <= {MOST_CHARACTERS}\n"
        "GROUP BY template, member, data_type\n"
        "ORDER BY first_told, template, member, data_type\n"
        f"LIMIT {MOST_MEMBERS}"
    )


def untold_query(metadata: str) -> str:
    """A query for three numbers of tags that belong to instances and get into no view.

    The first is of tags of which births have told a template but not the instances, as an earlier
    release did; the second of tags in instances that name no template; the third of those that
    members_query leaves out for the length of their names.

    Args:
        metadata: tag_metadata, as it is to be written in SQL.
    """
    rows = _instances(f"  SELECT * FROM {metadata}", "valid_to")  # noqa: S608
    return (
        "WITH\nnewest AS (\n"  # noqa: S608 - a checked name
        f"{_newest(metadata)}\n"
        f"),\nmembers AS (\n{rows}\n)\n"
        "SELECT\n"
        "  (SELECT COUNT(*) FROM newest\n"
        f"  WHERE template IS NOT NULL AND NOT COALESCE({_TOLD}, FALSE)),\n"
        "  (SELECT COUNT(DISTINCT tag_path) FROM members WHERE template IS NULL),\n"
        "  (SELECT COUNT(DISTINCT tag_path) FROM members\n"
        f"  WHERE {_LENGTH} > {MOST_CHARACTERS})"
    )


def _newest(metadata: str) -> str:
    """The last version of each tag; `metadata` as it is to be written in SQL."""
    return (
        f"  SELECT * FROM {metadata}\n"  # noqa: S608 - a checked name
        "  QUALIFY ROW_NUMBER() OVER (\n"
        "    PARTITION BY tag_path ORDER BY valid_from DESC, ingestion_timestamp DESC\n"
        "  ) = 1"
    )


def _instances(source: str, columns: str) -> str:
    """Rows of tag_metadata for each instance around their tag; `source` gives the rows."""
    levels = ", ".join(f"({level})" for level in range(_MOST_LEVELS))
    return (
        "SELECT tag_path, source_system_id, group_id, edge_node_id, device_id,\n"  # noqa: S608
        "  its_template AS template, instance,\n"
        f"  substring(metric_name, char_length(instance) + 2) AS member, metric_name, {columns}\n"
        "FROM (\n"
        "  SELECT tags.*, get_json_object(said, '$.template') AS its_template,\n"
        "    get_json_object(said, '$.path') AS instance\n"
        "  FROM (\n"
        "    SELECT told.*,\n"
        "      get_json_object(properties, concat('$.@instances[', level, ']')) AS said\n"
        f"    FROM (\n{source}\n    ) AS told\n"
        f"    CROSS JOIN (VALUES {levels}) AS levels(level)\n"
        f"    WHERE {_TOLD}\n"
        "  ) AS tags\n"
        "  WHERE said IS NOT NULL\n"
        ") AS around\n"
        "WHERE left(metric_name, char_length(instance) + 1) = concat(instance, '/')"
    )


def trend_view(table: str, metadata: str = "") -> str:
    """A view for charts: each tag and time once, with quality and how long the value held.

    Args:
        table: full name of tag_events.
        metadata: full name of tag_metadata; units and ranges are null without.
    """
    about = ("unit", "low", "high")
    types = ("STRING", "DOUBLE", "DOUBLE")
    if metadata:
        described = ", ".join(f"m.{name}" for name in about)
        join = f"\nLEFT JOIN {quoted(current_name(metadata))} AS m ON m.tag_path = e.tag_path"
    else:
        described = ", ".join(
            f"CAST(NULL AS {kind}) AS {name}" for name, kind in zip(about, types, strict=True)
        )
        join = ""
    query = (
        "SELECT e.tag_path, e.source_system_id, e.group_id, e.edge_node_id, e.device_id,\n"  # noqa: S608
        "  e.metric_name, e.data_type, e.event_time,\n"
        "  LEAD(e.event_time) OVER (PARTITION BY e.tag_path ORDER BY e.event_time) AS held_until,\n"
        "  COALESCE(e.numeric_value, CASE WHEN e.boolean_value THEN 1.0 WHEN NOT e.boolean_value"
        " THEN 0.0 END) AS value,\n"
        "  e.string_value AS text_value, e.quality, e.quality_code, e.is_historical,\n"
        f"  {described}\n"
        f"FROM (\n"
        f"  SELECT * FROM {quoted(table)}\n"
        "  QUALIFY ROW_NUMBER() OVER (\n"
        "    PARTITION BY tag_path, event_time ORDER BY is_historical, arrival_number DESC\n"
        "  ) = 1\n"
        f") AS e{join}"
    )
    return (
        "-- Each tag and time once, as it was said last. A value holds until `held_until`, null\n"
        "-- for the newest. Booleans are 1 and 0.\n" + _view(trend_name(table), query)
    )


def template_views(table: str, metadata: str, model: TemplateModel) -> Iterator[str]:
    """The three views of one template: what changed, what held, and what holds now.

    Args:
        table: full name of tag_events, in whose schema the views are.
        metadata: full name of tag_metadata.
        model: the template.
    """
    view = f"{table.rpartition('.')[0]}.{model.view}"
    about = f"-- Template {escaped(model.template)}: "
    left_out = ""
    if model.left_out:
        left_out = f"-- {model.left_out} more columns are left out.\n"
    observed = _observed(table, metadata, model)
    yield (
        about
        + "a row for each instance and time at which members were said.\n"
        + left_out
        + _view(view, observed + _changed(model.columns))
    )
    yield (
        about
        + "the same times, each with the values that held then.\n"
        + left_out
        + _view(f"{view}_filled", observed + _filled(model.columns))
    )
    yield (
        about
        + "what holds now, a row for each instance.\n"
        + left_out
        + _view(f"{view}_latest", _observed(table, metadata, model, latest=True) + _latest(model))
    )


def _observed(table: str, metadata: str, model: TemplateModel, *, latest: bool = False) -> str:
    """The members of the template as they were said, each tag and time once."""
    keys = ", ".join(f"m.{key}" for key in KEYS)
    rows = quoted(latest_name(table) if latest else table)
    lines = [f"    {keys},", "    m.member, e.event_time,", f"    {_RANK} AS quality_rank"]
    lines += [f"    {text} AS {name}" for name, text in _values(model.columns)]
    text = (
        "WITH observed AS (\n  SELECT\n"
        + ",\n".join(line.removesuffix(",") for line in lines)
        + f"\n  FROM {quoted(instances_name(metadata))} AS m\n"
        f"  JOIN {rows} AS e ON e.tag_path = m.tag_path\n"
        f"  WHERE {equals('m.template', model.template)}"
    )
    if latest:
        return f"{text} AND m.is_declared\n)\n"
    return (
        f"{text}\n    AND NOT ({_NOT_SHOWN})\n"
        "  QUALIFY ROW_NUMBER() OVER (\n"
        "    PARTITION BY m.instance, e.tag_path, e.event_time\n"
        "    ORDER BY e.is_historical, e.arrival_number DESC\n"
        "  ) = 1\n"
        ")"
    )


_FAMILY: Final = (
    "CASE WHEN e.data_type IN ("
    + ", ".join(f"'{name}'" for name in NUMBERS)
    + ") THEN 'number' WHEN e.data_type = 'Boolean' THEN 'boolean'"
    " WHEN e.data_type = 'DateTime' THEN 'time' ELSE 'text' END"
)

_VALUES: Final = {
    "DOUBLE": ("numeric_value", "e.numeric_value"),
    "BIGINT": ("integer_value", "e.integer_value"),
    "DECIMAL(20,0)": (
        "unsigned_value",
        (
            "COALESCE(CAST(e.integer_value AS DECIMAL(20,0)),"
            " TRY_CAST(e.string_value AS DECIMAL(20,0)))"
        ),
    ),
    "BOOLEAN": ("boolean_value", "e.boolean_value"),
    "TIMESTAMP": ("time_value", "TRY_CAST(e.string_value AS TIMESTAMP)"),
    "STRING": (
        "text_value",
        (
            "COALESCE(e.string_value, CAST(e.integer_value AS STRING),"
            " CAST(e.numeric_value AS STRING), CAST(e.boolean_value AS STRING))"
        ),
    ),
}
"""By the type of a column: name and text of the value that is its."""


def _values(columns: tuple[MemberColumn, ...]) -> Iterator[tuple[str, str]]:
    if not all(column.is_alone for column in columns):
        yield "family", _FAMILY
    needed = {column.delta_type for column in columns}
    yield from (value for delta_type, value in _VALUES.items() if delta_type in needed)


def _value(column: MemberColumn) -> str:
    """The value of a row of `observed` for a column, null where it is none of its family."""
    name = _VALUES[column.delta_type][0]
    if column.is_alone:
        return name
    return f"CASE WHEN family = '{column.family}' THEN {name} END"


def _quality(rank: str) -> str:
    return (
        f"CASE {rank} WHEN 0 THEN 'GOOD' WHEN 1 THEN 'UNCERTAIN' WHEN 2 THEN 'BAD' ELSE 'STALE' END"
    )


def _pivoted(columns: tuple[MemberColumn, ...]) -> list[str]:
    return [
        f"  MAX(CASE WHEN {equals('member', column.member)} THEN {_value(column)} END)"
        f" AS {identifier(column.name)}"
        for column in columns
    ]


def _listed(expressions: list[str], columns: tuple[MemberColumn, ...]) -> str:
    """Expressions of a SELECT, the last ones being `columns`: what these are is noted."""
    fixed = [""] * (len(expressions) - len(columns))
    notes = [*fixed, *(f"  -- {escaped(column.member)}: {column.delta_type}" for column in columns)]
    ends = [","] * (len(expressions) - 1) + [""]
    return "\n".join(
        f"{text}{end}{note}" for text, end, note in zip(expressions, ends, notes, strict=True)
    )


def _changed(columns: tuple[MemberColumn, ...]) -> str:
    keys = ", ".join((*KEYS, "event_time"))
    fixed = [
        f"  {keys}",
        f"  {_quality('MAX(quality_rank)')} AS quality",
        "  COUNT(*) AS members_changed",
    ]
    return (
        f"\nSELECT\n{_listed(fixed + _pivoted(columns), columns)}\nFROM observed\nGROUP BY {keys}"
    )


def _latest(model: TemplateModel) -> str:
    keys = ", ".join(KEYS)
    fixed = [
        f"  {keys}",
        "  MAX(event_time) AS event_time",
        f"  {_quality('MAX(quality_rank)')} AS quality",
        "  COUNT(*) AS members",
    ]
    columns = model.columns
    return f"SELECT\n{_listed(fixed + _pivoted(columns), columns)}\nFROM observed\nGROUP BY {keys}"


def _filled(columns: tuple[MemberColumn, ...]) -> str:
    """What held: of each column the value, and its state, which tells a null from no word."""
    keys = ", ".join(KEYS)
    changed, held, worst, values = ["    COUNT(*) AS members_changed"], [], ["0"], []
    for index, column in enumerate(columns):
        of_member, value = equals("member", column.member), _value(column)
        state = f"quality_rank + CASE WHEN {value} IS NULL THEN {_NO_VALUE} ELSE 0 END"
        changed += [
            f"    MAX(CASE WHEN {of_member} THEN {value} END) AS v{index}",
            f"    MAX(CASE WHEN {of_member} THEN {state} END) AS s{index}",
        ]
        held += [
            f"    LAST_VALUE(v{index}) IGNORE NULLS OVER held AS v{index}",
            f"    LAST_VALUE(s{index}) IGNORE NULLS OVER held AS s{index}",
        ]
        worst.append(f"s{index} % {_NO_VALUE}")
        values.append(
            f"  CASE WHEN s{index} < {_NO_VALUE} THEN v{index} END AS {identifier(column.name)}"
        )
    quality = _quality(f"GREATEST({', '.join(worst)})") + " AS quality"
    fixed = [f"  {keys}, event_time", f"  {quality}", "  members_changed"]
    return (
        ",\nchanged AS (\n"
        f"  SELECT\n    {keys}, event_time,\n" + ",\n".join(changed) + "\n"
        f"  FROM observed\n  GROUP BY {keys}, event_time\n"
        "),\nfilled AS (\n"
        f"  SELECT\n    {keys}, event_time, members_changed,\n" + ",\n".join(held) + "\n"
        "  FROM changed\n"
        "  WINDOW held AS (\n"
        f"    PARTITION BY {keys} ORDER BY event_time\n"
        "    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW\n"
        "  )\n"
        ")\n"
        f"SELECT\n{_listed(fixed + values, columns)}\nFROM filled"
    )


def _view(name: str, query: str) -> str:
    return f"CREATE OR REPLACE VIEW {quoted(name)} AS\n{query};\n"
