"""`databricks check`: the real SDK against a fake workspace."""

import json

import pytest
from databricks.sdk.service import catalog
from support.databricks_command import ORG_ID, TABLE
from support.fake_workspace import ADMIN, Refusal, table_of

from consumer.rows.tables import TAG_EVENTS

COLUMNS = [(c.name, c.delta_type.lower(), c.nullable) for c in TAG_EVENTS.columns]


@pytest.fixture
def prepared(plant):
    """The plant's workspace as `setup` leaves it."""
    plant.run("setup", "--yes")
    [principal] = plant.workspace.principals.values()
    plant.configure(client_id=principal.application_id)
    plant.principal = principal.application_id
    return plant


def table(plant, columns=COLUMNS, **more):
    plant.workspace.tables[TABLE] = table_of(TABLE, columns, **more)


def findings(plant):
    """What is not ok of tag_events: status and text."""
    report = json.loads(plant.run("check", "--json").stdout)
    return [
        (each["status"], each["text"])
        for each in report["findings"]
        if each["status"] != "ok" and each["part"].endswith(TABLE)
    ]


def test_what_setup_made_is_well(prepared):
    printed = prepared.run("check", "--json")
    assert printed.returncode == 0, printed.stderr
    report = json.loads(printed.stdout)
    assert {each["status"] for each in report["findings"]} == {"ok"}
    assert f"as {ADMIN}" in printed.stderr


def test_an_empty_workspace_lacks_everything(plant):
    printed = plant.run("check")
    assert printed.returncode == 1
    assert f"FAIL table {TABLE}  there is none" in printed.stderr
    assert "to-be-made lacks MODIFY, SELECT" in printed.stderr


def test_a_missing_column_fails(prepared):
    table(prepared, COLUMNS[:-1])
    [(status, text)] = findings(prepared)
    assert (status, text) == ("FAIL", "lacks column arrival_number")


def test_another_type_is_a_warning(prepared):
    table(prepared, [COLUMNS[0], ("event_time", "bigint", False), *COLUMNS[2:]])
    [(status, text)] = findings(prepared)
    assert status == "warn"
    assert text.startswith("event_time is BIGINT, the consumer writes TIMESTAMP")


def test_a_column_that_may_be_null_and_must_not_fails(prepared):
    table(prepared, [c if c[0] != "seq" else ("seq", "int", False) for c in COLUMNS])
    assert findings(prepared) == [
        ("FAIL", "seq is NOT NULL, but the consumer writes rows without it")
    ]


def test_a_column_of_others_is_noted_and_one_that_must_not_be_null_fails(prepared):
    table(prepared, [*COLUMNS, ("site_note", "string", True)])
    assert findings(prepared) == [("note", "site_note is not written: null in every row")]
    table(prepared, [*COLUMNS, ("site_note", "string", False)])
    assert findings(prepared)[0][0] == "FAIL"


def test_another_order_is_noted(prepared):
    table(prepared, [COLUMNS[1], COLUMNS[0], *COLUMNS[2:]])
    [(status, text)] = findings(prepared)
    assert status == "note"
    assert "another order" in text


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"clusteringColumns": '[["tag_path"]]'}, "liquid clustering"),
        ({"clusterByAuto": "true"}, "liquid clustering"),
        ({"delta.constraints.positive": "x > 0"}, "CHECK constraints"),
        ({"delta.feature.checkConstraints": "supported"}, "CHECK constraints"),
        ({"delta.feature.generatedColumns": "supported"}, "generated columns"),
    ],
)
def test_what_only_some_clouds_take_is_a_warning(prepared, properties, said):
    table(prepared, properties=properties)
    [(status, text)] = findings(prepared)
    assert status == "warn"
    assert said in text


def test_no_clustering_any_more_is_well(prepared):
    table(prepared, properties={"clusteringColumns": "[]", "delta.feature.clustering": "supported"})
    assert findings(prepared) == []


def test_a_generated_column_is_a_warning(prepared):
    table(prepared)
    column = prepared.workspace.tables[TABLE].columns[3]
    metadata = {"delta.generationExpression": "upper(tag_path)"}
    column.type_json = json.dumps({"name": column.name, "metadata": metadata})
    [(status, text)] = findings(prepared)
    assert status == "warn"
    assert text.startswith("tag_provider is generated")


def test_a_table_that_is_not_managed_fails(prepared):
    table(prepared, kind=catalog.TableType.EXTERNAL)
    [(status, text)] = findings(prepared)
    assert status == "FAIL"
    assert text.startswith("is EXTERNAL DELTA")


def test_a_missing_grant_fails_and_an_inherited_one_is_a_warning(prepared):
    grants = prepared.workspace.grants["table", TABLE]
    grants[prepared.principal] = {"SELECT": None}
    assert findings(prepared) == [("FAIL", f"{prepared.principal} lacks MODIFY")]
    grants[prepared.principal] = {"SELECT": None, "MODIFY": "plant"}
    [(status, text)] = findings(prepared)
    assert (status, text[:23]) == ("warn", "MODIFY is inherited; Ze")
    grants[prepared.principal] = {"ALL_PRIVILEGES": None}
    assert findings(prepared) == []


@pytest.mark.parametrize(("number", "code"), [(ORG_ID, 0), ("99", 1)])
def test_the_endpoint_must_be_of_the_workspace(prepared, number, code):
    text = prepared.config.read_text()
    endpoint = f"https://{number}.zerobus.us-west-2.cloud.databricks.com"
    prepared.config.write_text(text.replace("http://127.0.0.1:9001", endpoint))
    printed = prepared.run("check")
    assert printed.returncode == code, printed.stderr
    assert ("FAIL endpoint" in printed.stderr) == bool(code)


def test_one_part_that_fails_does_not_hide_the_others(prepared):
    refusal = Refusal(403, "PERMISSION_DENIED", "not for you")
    prepared.workspace.refuse[f"GET .*/tables/{TABLE}"] = refusal
    prepared.workspace.warehouses.clear()
    printed = prepared.run("check")
    assert printed.returncode == 1
    assert "FAIL warehouse  there is no SQL warehouse" in printed.stderr
    assert f"FAIL table {TABLE}" in printed.stderr
    assert f"ok   grants on table {TABLE}" in printed.stderr


def test_nothing_is_changed(prepared):
    prepared.workspace.requests.clear()
    prepared.run("check")
    changes = [path for method, path, _ in prepared.workspace.requests if method != "GET"]
    assert changes == ["/api/2.0/sql/statements"]
    assert prepared.workspace.statements[-1] == "SELECT 1"
