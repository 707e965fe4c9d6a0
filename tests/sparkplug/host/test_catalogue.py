"""Tag ids: dense, stable over rebirths, handed out anew without the dead ones."""

from dataclasses import dataclass

import numpy as np
import pytest

from sparkplug.datatypes import READINGS, DataType, Reading, datatype_codes
from sparkplug.host.catalogue import NO_TAG, TagCatalogue, is_control


@dataclass
class Owner:
    group_id: str = "Plant"
    edge_node_id: str = "Edge"
    device_id: str | None = None


def codes(*datatypes):
    return np.array(datatypes, dtype=np.uint8)


def tags(*numbers):
    return np.array(numbers, dtype=np.int32)


def test_ids_are_dense_and_follow_one_another():
    catalogue = TagCatalogue()
    assert catalogue.append(Owner(), ["a", "b"], codes(DataType.Int8, DataType.String)) == 0
    assert catalogue.append(Owner(device_id="D"), ["c"], codes(DataType.Double)) == 2
    assert len(catalogue) == 3
    assert catalogue.names == ["a", "b", "c"]
    assert [owner.device_id for owner in catalogue.owners] == [None, None, "D"]
    assert catalogue.datatype.tolist() == [1, 12, 10]


def test_a_catalogue_grows_beyond_its_first_array():
    catalogue = TagCatalogue()
    for part in range(5):
        names = [f"{part}.{n}" for n in range(700)]
        catalogue.append(Owner(), names, np.full(700, part + 1, dtype=np.uint8))
    assert len(catalogue) == len(catalogue.datatype) == len(catalogue.emitted) == 3500
    assert catalogue.datatype.tolist() == [part + 1 for part in range(5) for _ in range(700)]
    assert catalogue.emitted.all()


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("bdSeq", True),
        ("Node Control/Rebirth", True),
        ("Device Control/Reboot", True),
        ("Node Control", False),
        ("bdseq", False),
        ("My/bdSeq", False),
        ("Line/Node Control/Rebirth", False),
        ("Node Info/Transmission Version", False),
    ],
)
def test_control_metrics_give_no_rows(name, control):
    catalogue = TagCatalogue()
    catalogue.append(Owner(), [name], codes(DataType.Boolean))
    assert is_control(name) is control
    assert catalogue.emitted.tolist() == [not control]


def test_unwanted_tags_give_no_rows_and_control_metrics_are_not_asked_about():
    asked = []
    catalogue = TagCatalogue(lambda place: asked.append(place) or place.endswith("a"))
    catalogue.append(Owner(device_id="D"), ["a", "b", "bdSeq"], codes(1, 1, 1))
    assert catalogue.emitted.tolist() == [True, False, False]
    assert asked == ["Plant/Edge/D/a", "Plant/Edge/D/b"]


def test_keeping_some_tags_renames_them_and_begins_a_generation():
    catalogue = TagCatalogue()
    catalogue.append(Owner(), ["a", "bdSeq", "c", "d"], codes(1, 4, 3, 12))
    renamed = catalogue.keep(tags(1, 3))
    assert renamed[tags(0, 1, 2, 3, NO_TAG)].tolist() == [NO_TAG, 0, NO_TAG, 1, NO_TAG]
    assert catalogue.generation == 1
    assert catalogue.names == ["bdSeq", "d"]
    assert len(catalogue.owners) == len(catalogue) == 2
    assert catalogue.datatype.tolist() == [4, 12]
    assert catalogue.emitted.tolist() == [False, True]
    assert catalogue.append(Owner(), ["e"], codes(7)) == 2
    assert catalogue.datatype.tolist() == [4, 12, 7]


def test_many_births_do_not_make_many_copies_of_the_columns():
    catalogue, copies, before = TagCatalogue(), 0, None
    for _ in range(4000):
        catalogue.append(Owner(), ["a"], codes(1))
        base = catalogue.datatype.base
        copies += base is not before
        before = base
    assert copies <= 4


def test_all_tags_may_be_dropped():
    catalogue = TagCatalogue()
    catalogue.append(Owner(), ["a"], codes(1))
    assert catalogue.keep(tags())[tags(0, NO_TAG)].tolist() == [NO_TAG, NO_TAG]
    assert len(catalogue) == 0


def test_how_a_tag_is_read_follows_from_its_datatype():
    catalogue = TagCatalogue()
    catalogue.append(Owner(), list("abcd"), codes(DataType.UInt16, DataType.Double, 0, 19))
    assert [READINGS[code] for code in catalogue.reading_of(tags(0, 1, 2, 3))] == [
        Reading.UNSIGNED,
        Reading.FLOATING,
        Reading.AS_FOUND,
        Reading.COMPLEX,
    ]


def test_wire_codes_that_are_not_listed_become_unknown():
    raw = np.array([0, 1, 34, 35, 255, 256, 257, 2**32 - 1], dtype=np.uint32)
    assert datatype_codes(raw).tolist() == [0, 1, 34, 0, 0, 0, 0, 0]
