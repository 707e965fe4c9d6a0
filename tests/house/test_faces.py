"""Rooms are entered through their faces, and faces say what is in them.

What `make lint` cannot see: names that a face does not offer, submodules reached as attributes,
modules imported by a text, and whether the lists of a lazy face agree.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text("utf-8")
    )
    for package in ("consumer", "sparkplug")
    for path in sorted((ROOT / package).rglob("*.py"))
    if not path.stem.endswith("_pb2")
}
GENERATED = {"consumer.pb", "sparkplug.pb"}
"""They have no face: all of them is public."""

LOADS_BY_TEXT = {"consumer.cli.commands"}
"""Commands are loaded when they are called, by name."""

LIBRARIES = {"sparkplug", "consumer.config"}
"""They offer what they have, whoever takes it."""


class Entry(NamedTuple):
    """One way in which a module reaches into another room; `name` is None for all of it."""

    module: str
    line: int
    face: str
    name: str | None


def room_of(module: str) -> str | None:
    """The room that a module is in; None for what everybody may import, and for outsiders."""
    parts = module.split(".")
    room = ".".join(parts[:2])
    if room in GENERATED or parts[0] not in {"consumer", "sparkplug"}:
        return None
    if len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir():
        return room
    return "sparkplug" if parts[0] == "sparkplug" else None


ROOMS = sorted({room for module in TREES if (room := room_of(module))})


def exported(face: str) -> list[str]:
    """`__all__` of a face, as it is written there."""
    for node in TREES[face].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{face} has no __all__")


def is_foreign(room: str | None, other: str | None) -> bool:
    """Whether there is a wall between: the words of `sparkplug` are the library's own."""
    words = other == "sparkplug" and (room or "").startswith("sparkplug")
    return other is not None and other != room and not words


def imports_of(module: str):
    """(module or face, name or None, name here, line) of every import statement."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield each.name, None, each.asname, node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for each in node.names:
                here = each.asname or each.name
                if f"{source}.{each.name}" in TREES:
                    yield f"{source}.{each.name}", None, here, node.lineno
                else:
                    yield source, each.name, here, node.lineno


def entries_of(module: str):
    """Every way in which a module reaches into other rooms, in its text's order of kinds."""
    room = room_of(module)
    as_modules = {}
    for source, name, here, line in imports_of(module):
        if is_foreign(room, room_of(source)):
            yield Entry(module, line, source, name)
            if name is None:
                as_modules[here] = source
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            face = as_modules.get(node.value.id)
            if face is not None:
                yield Entry(module, node.lineno, face, node.attr)


ENTRIES = [entry for module in TREES for entry in entries_of(module)]


def test_another_room_is_entered_through_its_face():
    assert len(ENTRIES) > 100
    assert [entry for entry in ENTRIES if entry.face not in ROOMS] == []


def test_a_room_gives_what_its_face_offers_and_nothing_else():
    taken = [entry for entry in ENTRIES if entry.name is not None and entry.face in ROOMS]
    assert [entry for entry in taken if entry.name not in exported(entry.face)] == []


def test_no_module_is_imported_relatively_or_by_a_text():
    by_text = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
    }
    assert by_text == LOADS_BY_TEXT
    relative = [m for m in TREES for source, *_ in imports_of(m) if source.startswith(".")]
    assert relative == []


@pytest.mark.parametrize("face", ROOMS)
def test_a_face_is_a_sentence_and_names(face):
    tree = TREES[face]
    assert re.search(r"[.:]$", (ast.get_docstring(tree) or "").splitlines()[0])
    for node in tree.body[1:]:
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        is_lazy = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        assert is_list or is_lazy or isinstance(node, (ast.Import, ast.ImportFrom))


@pytest.mark.parametrize("face", ROOMS)
def test_the_lists_of_a_face_agree(face):
    homes = {
        name: source
        for source, name, *_ in imports_of(face)
        if name is not None and source.startswith(face.partition(".")[0])
    }
    assert sorted(homes) == sorted(exported(face))
    lazily = [
        ast.literal_eval(keyword.value)
        for node in ast.walk(TREES[face])
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "submod_attrs"
    ]
    for attached in lazily:
        assert homes == {
            name: f"{face}.{module}" for module, names in attached.items() for name in names
        }


@pytest.mark.parametrize("face", ROOMS)
def test_everything_that_a_face_offers_is_there(face):
    offering = importlib.import_module(face)
    for name in exported(face):
        assert getattr(offering, name) is not None


@pytest.mark.parametrize(
    "face", [each for each in ROOMS if each not in LIBRARIES | {"consumer.cli", "sparkplug.edge"}]
)
def test_a_room_offers_nothing_that_nobody_takes(face):
    taken = {entry.name for entry in ENTRIES if entry.face == face}
    taken |= {
        name
        for source, name, *_ in imports_of("sparkplug")  # which hands on what its rooms have
        if source == face
    }
    assert [name for name in exported(face) if name not in taken] == []


def test_every_room_below_the_roof_has_a_wall_in_the_contracts():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    walled = {
        each["allowed_importers"][0]
        for each in project["tool"]["importlinter"]["contracts"]
        if each["type"] == "protected" and not each.get("as_packages", True)
    }
    assert set(ROOMS) - walled == {"consumer.cli"}


def test_sparkplug_asks_no_clock():
    asking = re.compile(r"\b(?:datetime|date)\.(?:now|utcnow|today)\b")
    library = [module for module in TREES if module.startswith("sparkplug")]
    assert [module for module in library if asking.search(ast.unparse(TREES[module]))] == []


@pytest.mark.parametrize("command", ["ledger", "gaps"])
def test_reports_of_the_spool_load_no_arrow(command, tmp_path):
    """They are asked while a consumer runs beside them, again and again."""
    spool = tmp_path / "spool.db"
    configuration = tmp_path / "plant.yaml"
    configuration.write_text(
        "servers: [{name: plant, url: mqtt://127.0.0.1}]\n"
        "zerobus: {endpoint: 'http://127.0.0.1:9', workspace_url: 'http://127.0.0.1:9', "
        "table: main.ot.tag_events, client_id: id, client_secret: secret}\n"
        f"spool: {{path: {spool}}}\n"
    )
    opened = f"from consumer.spool import Spool; Spool.open({str(spool)!r}).close()"
    subprocess.run([sys.executable, "-c", opened], check=True)
    program = (
        "import sys\nfrom consumer.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, command, "--config", configuration],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(told.stdout.splitlines()[-1].split())
    assert "sqlite3" in loaded
    assert not {"pyarrow", "numpy", "ptars", "zerobus", "paho", "fastapi"} & loaded
