"""Whatever somebody named: it is listed, lies in one folder, and is found by its address."""

import pytest
from support.columnar import message, tag
from support.http_side import http_side

from consumer.broker import InboxBatch
from consumer.monitor.folders import MOST_LEVELS
from sparkplug import MessageBatch

PLANT = {"server": "plant", "group": "Plant", "node": "Edge"}
NAMES = [
    *("/", "//", "///", "/Speed", "//a", "//a/b", "/a/b", "a/", "a//", "a//b", "a/b/", "a/b"),
    *("Motor/x", "motor/y", "MOTOR/z", "Motor", "motor"),
    *("__proto__", "__proto__/x", "constructor", "constructor/prototype", "toString/a"),
    *("\u039f\u0394\u039f\u03a3/x", "\u0130/x", "\u1e9e/x", "%2F/x", "?a=b&c=d#/e", " / / "),
    *("x" * 4096, "/" * 4096, "a/" * 2048, "\x00\n/\u202e"),
]
LONG = "N" * 2000
NODES = ["Edge", LONG, "__proto__", "constructor", "edge", "EDGE", "?a=b&c=d", "\u202e\x1b"]


@pytest.fixture
def plant(tmp_path):
    tags = [tag(name, alias, float(alias)) for alias, name in enumerate(NAMES)]
    births = [message("NBIRTH", *tags), message("DBIRTH", *tags, seq=1, device="__proto__")]
    births += [message("NBIRTH", tag("x", 0), node=node) for node in NODES[1:]]
    births += [message("DBIRTH", tag("x", 1), seq=1, node="__proto__", device="D" * 2000)]
    with http_side(tmp_path) as client:
        client.consumer.decoding._take(InboxBatch({0: MessageBatch(births)}))
        yield client


def items(client, path, **parameters):
    answer = client.get(path, params={"limit": 500, **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def place(item):
    """The parameters of what is below an entry of the tree, as the page gives them."""
    keys = ("server", "group", "node", "device", "folder")
    return {key: item[key] for key in keys if item[key]}


def leaves(client, above, depth=0):
    """Names of all tags below an entry; what it counts and what the list has of it are as many."""
    assert depth <= MOST_LEVELS
    found = []
    for item in items(client, "/api/tree", **above):
        assert place(item) != above or item["kind"] == "tag"
        if item["kind"] == "folder":
            below = leaves(client, place(item), depth + 1)
            listed = items(client, "/api/tags", **{"device": ""} | place(item))
            assert sorted(below) == sorted(each["name"] for each in listed)
            assert item["tags"] == len(below)
            found += below
        elif item["kind"] == "tag":
            found.append(item["name"])
    return found


@pytest.mark.parametrize("device", ["", "__proto__"])
def test_each_tag_is_found_once_in_the_tree_and_its_folders_in_the_list(plant, device):
    above = {**PLANT, "device": device} if device else PLANT
    assert sorted(leaves(plant, above)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_tag_is_found_by_its_name(plant, name):
    for device in ("", "__proto__"):
        told = plant.get("/api/tag", params={**PLANT, "device": device, "name": name})
        assert told.json()["tag"]["name"] == name


def test_each_node_that_is_listed_is_found_with_its_tags_and_asked_for_its_births(plant):
    nodes = items(plant, "/api/nodes")
    assert sorted(each["node"] for each in nodes) == sorted(NODES)
    for each in nodes:
        where = {"server": each["server"], "group": each["group"], "node": each["node"]}
        for path in ("/api/node", "/api/gaps", "/api/events"):
            assert plant.get(path, params=where).status_code == 200
        assert items(plant, "/api/tree", **where)
        assert {tag["node"] for tag in items(plant, "/api/tags", **where)} == {each["node"]}
        assert plant.post("/api/actions/rebirth", where).status_code == 202
    assert items(plant, "/api/tags", **PLANT | {"node": "__proto__"}, device="D" * 2000)


@pytest.mark.parametrize("word", ["\u039f\u0394\u039f\u03a3", "\u0130", "\u1e9e", "motor"])
def test_a_word_is_found_in_any_script_as_it_is_written(plant, word):
    found = items(plant, "/api/tags", search=word, device="", **PLANT)
    assert {f"{word}/x", "Motor/x"} & {each["name"] for each in found}


def test_folders_are_told_apart_by_case(plant):
    found = items(plant, "/api/tags", folder="Motor", device="", **PLANT)
    assert [each["name"] for each in found] == ["Motor/x"]
