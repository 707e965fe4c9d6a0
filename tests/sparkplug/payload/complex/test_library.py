"""Definitions of many nodes: equal ones are kept once, all together within bounds."""

from sparkplug.payload.complex.definitions import DefinitionProblem
from sparkplug.payload.complex.library import DefinitionLibrary
from sparkplug.pb.sparkplug_b_pb2 import Metric, Template


def definition(name, *members):
    template = Template(is_definition=True, metrics=[Metric(name=each) for each in members])
    return name, template.SerializeToString()


def test_a_node_has_what_its_last_birth_defined():
    library = DefinitionLibrary()
    assert not library.replace("A", [definition("Motor", "a"), definition("Pump", "b")])
    assert not library.replace("B", [definition("Motor", "c")])
    assert "Pump" in library.of("A")
    assert "Pump" not in library.of("B")
    library.replace("A", [definition("Motor", "a")])
    assert "Pump" not in library.of("A")
    library.replace("A", [])
    assert len(library.of("A")) == 0
    assert len(library.of("nobody")) == 0


def test_equal_definitions_of_many_nodes_are_kept_once():
    library = DefinitionLibrary()
    for number in range(100):
        library.replace(number, [definition("Motor", "a", "b")])
    assert len(library) == 1
    assert library.of(0) is library.of(99)
    for number in range(100):
        library.replace(number, [definition("Motor", "other")] if number else [])
    assert len(library) == 1
    assert library.of(1) is library.of(99)


def test_the_same_bytes_under_other_names_are_other_definitions():
    library = DefinitionLibrary()
    library.replace("A", [definition("Motor", "a")])
    library.replace("B", [definition("Pump", "a")])
    assert len(library) == 2
    assert "Motor" not in library.of("B")


def test_all_nodes_together_have_a_limit_and_give_back_what_they_no_longer_have():
    library = DefinitionLibrary(max_members=5)
    big, other = [definition("Motor", "a", "b", "c")], [definition("Pump", "d", "e")]
    assert library.replace("A", big) == []
    assert library.replace("B", other) == [DefinitionProblem.TOO_MANY]
    assert library.replace("C", big) == []  # costs nothing more
    library.replace("A", [])
    assert library.replace("B", other) == [DefinitionProblem.TOO_MANY]
    library.replace("C", [])
    assert library.replace("B", other) == []
    assert "Pump" in library.of("B")


def test_the_bytes_of_all_definitions_have_a_limit():
    name, encoded = definition("Motor", "a" * 100)
    library = DefinitionLibrary(max_bytes=len(encoded))
    assert library.replace("A", [(name, encoded)]) == []
    assert library.replace("B", [definition("Pump", "b")]) == [DefinitionProblem.TOO_MANY]
    library.replace("A", [])
    assert library.replace("B", [definition("Pump", "b")]) == []


def test_problems_are_told_to_every_node_that_has_them():
    library = DefinitionLibrary()
    wrong = [("Motor", b"\xff"), definition("Pump", "a")]
    assert library.replace("A", wrong) == [DefinitionProblem.UNREADABLE]
    assert library.replace("B", wrong) == [DefinitionProblem.UNREADABLE]
    assert "Pump" in library.of("B")
