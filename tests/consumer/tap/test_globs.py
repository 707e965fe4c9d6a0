"""Globs over group/node[/device]/metric: what they match, and which cannot match anything."""

import pytest

from consumer.errors import ConfigurationError
from consumer.tap.globs import Places


@pytest.mark.parametrize(
    ("glob", "place", "matches"),
    [
        ("Plant 1/*/*/Motor*", "Plant 1/Line A/Press 1/Motor 3/Speed", True),
        ("Plant 1/*/*/Motor*", "Plant 1/Line A/Area/Motor 3", True),
        ("Plant 1/*/*/Motor*", "Plant 2/Line A/Press 1/Motor 3", False),
        ("Plant 1/*/*/Motor*", "Plant 1/Line A/Motor 3", False),
        ("Plant 1/Line A", "Plant 1/Line A/Press 1/Speed", True),
        ("Plant 1/Line A/", "Plant 1/Line A/Speed", True),
        ("Plant 1/Line A", "Plant 1/Line AB/Speed", False),
        ("Plant 1", "Plant 1/Line A/Speed", True),
        ("Plant 1/Line A/Press 1/Ram", "Plant 1/Line A/Press 1/Ram/Force", True),
        ("*/Temperature", "P/E/Cabinet/Temperature", True),
        ("*/temperature", "P/E/Cabinet/Temperature", False),
        ("P/E/[[]kN[]]", "P/E/[kN]", True),
        ("P/E/M[12]", "P/E/M3", False),
        ("P/E/M?", "P/E/M3", True),
    ],
)
def test_a_glob_matches_as_the_documentation_says(glob, place, matches):
    assert Places([glob])(place) is matches


def test_no_glob_is_everything():
    everything = Places()
    assert everything.is_everything
    assert everything("P/E/M")
    assert everything.may_have("P/E")
    assert everything.has_all("P/E")


def test_of_several_globs_one_must_match():
    either = Places(["P/E/A", "P/E/B"])
    assert [either(f"P/E/{name}") for name in "ABC"] == [True, True, False]


@pytest.mark.parametrize(
    ("glob", "owner", "may", "everything"),
    [
        ("Plant 1", "Plant 1/Line A", True, True),
        ("Plant 1", "Plant 1/Line A/Press 1", True, True),
        ("Plant 1", "Plant 2/Line A", False, False),
        ("Plant 1/Line A/Press 1/Ram", "Plant 1/Line A", True, False),
        ("Plant 1/Line A/Press 1/Ram", "Plant 1/Line A/Press 1", True, False),
        ("Plant 1/Line A/Press 1/Ram", "Plant 1/Line A/Press 2", False, False),
        ("Plant 1/Line A/Press 1/Ram", "Plant 1/Line B", False, False),
        ("Plant 1/*/Motor*", "Plant 1/Line A", True, False),
        ("Plant 1/*/Motor*", "Plant 2/Line A", False, False),
        ("*/Temperature", "P/E/D", True, False),
        ("P/[EF]/M", "P/E", True, False),
        ("P/?/M", "P/E", True, False),
        ("P/E*", "P/Edge/D", True, True),
        ("P*", "P/Edge/D", True, True),
    ],
)
def test_it_is_known_of_nodes_and_devices_whether_they_may_have_what_matches(
    glob, owner, may, everything
):
    places = Places([glob])
    assert places.may_have(owner) is may
    assert places.has_all(owner) is everything


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("spBv1.0/Plant 1/NDATA/Line A", "it is no topic"),
        ("/Line A", "has an empty level"),
        ("Plant 1//Motor", "has an empty level"),
        ("Plant 1/+/Motor", r"write \* instead"),
        ("Plant 1/#", r"write \* instead"),
        ("Plant 1/Line A/[kN", r"write \[\[\] for a bracket"),
        ("x" * 5_000, "5000 characters"),
    ],
)
def test_a_glob_that_cannot_be_meant_is_refused_with_a_mend(glob, problem):
    with pytest.raises(ConfigurationError, match=problem):
        Places([glob])


def test_slashes_within_a_name_and_wildcards_of_mqtt_in_it_are_none_of_that():
    assert Places(["P/E/D/A//B"])("P/E/D/A//B")
    assert Places(["P/E/D/+"])("P/E/D/+")
