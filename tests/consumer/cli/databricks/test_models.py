"""`databricks models`: which views it prints or makes, of what it is told, and what it says."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from support.columnar import message, tag
from support.databricks_command import METADATA, TABLE
from support.fake_workspace import Refusal
from support.models import Landing, in_duckdb, understood
from support.template_messages import instance, member

VIEWS = [
    f"{TABLE}_latest",
    f"{METADATA}_current",
    f"{METADATA}_instances",
    f"{TABLE}_trend",
]
MOTOR = [f"plant.scada.udt_motor{end}" for end in ("", "_filled", "_latest")]


def landed(*metrics):
    """Both tables, after one birth."""
    landing = Landing()
    landing.hears(message("NBIRTH", *metrics))
    return landing.tables()


@pytest.fixture
def metadata(tmp_path):
    """Writes tag_metadata of one birth to the disk."""

    def write(*metrics):
        path = tmp_path / "tag_metadata"
        write_deltalake(path, landed(*metrics)["tag_metadata"])
        return path

    return write


@pytest.fixture
def knows(plant):
    """Lets the workspace answer queries from tag_metadata of one birth."""

    def answer(*metrics):
        rows = landed(*metrics)["tag_metadata"]

        def ask(query):
            with duckdb.connect() as database:
                database.execute(
                    "ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada; USE plant.scada"
                )
                database.register("landed", rows)
                database.execute("CREATE TABLE tag_metadata AS SELECT * FROM landed")
                (statement,) = in_duckdb(query)
                return [
                    [None if value is None else str(value) for value in row]
                    for row in database.sql(statement).fetchall()
                ]

        plant.workspace.query = ask

    return answer


def motor(name="M", **fields):
    return instance(name, member("speed", 1.0), **fields)


def printed_views(text):
    return [name for name, _ in understood(text)]


def test_it_prints_all_views_and_changes_nothing(plant, knows):
    knows(motor())
    printed = plant.run("models")
    assert printed.returncode == 0, printed.stderr
    assert printed_views(printed.stdout) == VIEWS + MOTOR
    assert all("CREATE" not in each for each in plant.workspace.statements)
    assert "SQL runs on warehouse Starter" in printed.stderr


def test_with_yes_it_makes_them_each_after_those_that_it_reads(plant, knows):
    knows(motor())
    plant.workspace.schemas["plant.scada"] = None
    printed = plant.run("models", "--yes", "--warehouse", "Starter")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.splitlines() == [f"made {name}" for name in VIEWS + MOTOR]
    made = [each for each in plant.workspace.statements if "CREATE" in each]
    assert printed_views(";\n".join(made)) == VIEWS + MOTOR


def test_a_copy_of_the_metadata_is_asked_without_a_workspace(plant, metadata, monkeypatch):
    monkeypatch.delenv("DATABRICKS_TOKEN")
    printed = plant.run("models", "--metadata", str(metadata(motor())))
    assert printed.returncode == 0, printed.stderr
    assert printed_views(printed.stdout) == VIEWS + MOTOR
    assert plant.workspace.requests == []


def test_both_give_the_same_text(plant, knows, metadata):
    metrics = [motor(), instance("P", member("q'uo`te\n", 1.0), ref="Pump's")]
    knows(*metrics)
    asked = plant.run("models").stdout
    assert asked == plant.run("models", "--metadata", str(metadata(*metrics))).stdout
    assert "udt_pump_s_filled" in asked


def test_views_of_templates_have_the_prefix_that_is_asked_for(plant, metadata):
    path = str(metadata(motor()))
    printed = plant.run("models", "--metadata", path, "--prefix", "m_")
    assert printed_views(printed.stdout)[4:] == [each.replace("udt_", "m_") for each in MOTOR]
    refused = plant.run("models", "--metadata", path, "--prefix", "x; DROP")
    assert refused.returncode == 2
    assert "letters, digits and underscores" in refused.stderr


def test_no_view_takes_the_place_of_a_table_or_of_its_views(plant, metadata):
    path = metadata(motor("a", ref="events"), motor("b", ref="metadata_current"))
    printed = plant.run("models", "--metadata", str(path), "--prefix", "tag_")
    views = printed_views(printed.stdout)
    assert len(views) == len({*views}) == 10
    assert not {TABLE, METADATA} & {*views}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ([tag("Ramp")], "no views of templates: no birth has told of any"),
        ([motor(ref=None)], "1 tags are in instances that name no template, which have no view"),
    ],
    ids=["plain tags", "instances without template"],
)
def test_it_says_what_has_no_view(plant, metadata, metrics, said):
    printed = plant.run("models", "--metadata", str(metadata(*metrics)))
    assert printed.returncode == 0
    assert said in printed.stderr
    assert printed_views(printed.stdout) == VIEWS


def test_it_says_of_which_tags_an_earlier_release_did_not_write_the_instances(plant, tmp_path):
    rows = landed(motor())["tag_metadata"]
    index = rows.schema.get_field_index("properties")
    rows = rows.set_column(index, rows.schema.field(index), pa.nulls(len(rows), pa.string()))
    write_deltalake(tmp_path / "tag_metadata", rows)
    printed = plant.run("models", "--metadata", str(tmp_path / "tag_metadata"))
    assert "1 tags of templates are in no view" in printed.stderr


def test_without_a_metadata_table_there_are_the_views_of_all_tags_alone(plant):
    text = plant.config.read_text(encoding="utf-8")
    plant.config.write_text(text.replace(f"  metadata_table: {METADATA}\n", ""), encoding="utf-8")
    printed = plant.run("models")
    assert printed.returncode == 0, printed.stderr
    assert printed_views(printed.stdout) == [f"{TABLE}_latest", f"{TABLE}_trend"]
    assert "the configuration has no zerobus.metadata_table" in printed.stderr
    assert plant.workspace.requests == []


def test_a_directory_that_is_no_such_table_is_named(plant, tmp_path):
    printed = plant.run("models", "--metadata", str(tmp_path))
    assert printed.returncode == 2
    assert "no Delta table there" in printed.stderr
    other = tmp_path / "other"
    write_deltalake(other, landed(motor())["tag_events"])
    printed = plant.run("models", "--metadata", str(other))
    assert printed.returncode == 2
    assert "cannot be read as tag_metadata" in printed.stderr


def test_a_refused_query_is_said_with_the_right_that_it_needs(plant):
    plant.workspace.refuse["POST .*/statements"] = Refusal(403, "PERMISSION_DENIED", "no SELECT")
    printed = plant.run("models")
    assert printed.returncode == 1
    assert printed.stdout == ""
    assert f"reading {METADATA}: refused" in printed.stderr
    assert f"SELECT on table {METADATA}" in printed.stderr


def test_a_view_that_fails_ends_it_and_is_named(plant, knows):
    knows(motor())
    plant.workspace.schemas["plant.scada"] = None
    plant.workspace.fail[r"VIEW plant\.scada\.udt_motor AS"] = ("BAD_REQUEST", "no room")
    printed = plant.run("models", "--yes")
    assert printed.returncode == 1
    assert printed.stdout.splitlines() == [f"made {name}" for name in VIEWS]
    assert "making view plant.scada.udt_motor: no room" in printed.stderr


def test_a_table_with_columns_of_others_has_the_views_of_ddl_only(plant):
    plant.config.write_text(
        plant.config.read_text(encoding="utf-8") + "normalize: {profile: ignition-module}\n",
        encoding="utf-8",
    )
    refused = plant.run("models")
    assert refused.returncode == 2
    assert "normalize: the views are for all columns under their own names" in refused.stderr
    assert refused.stdout == ""
