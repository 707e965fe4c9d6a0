"""How large a file, a class and a list of parameters may become: part of `make lint`.

Counted are the lines of a file, the methods and properties of a class whose names do not begin
with an underscore, inherited ones left out, and the parameters of a function without `self` and
`cls`. What is larger is listed here with its reason; what is listed and no longer larger fails,
too, so that the list does not outlive its reasons.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("consumer", "sparkplug", "zerobus_local")
MOST_LINES: Final = 500
MOST_METHODS: Final = 15
MOST_PARAMETERS: Final = 8

LARGER: Final = {
    # What a table's delivery is made of. Three are clocks and chance, given by tests alone.
    "consumer/delivery/table.py TableDelivery.__init__",
}


class Found(NamedTuple):
    """Something that is larger than it may be: its place, and how large it is."""

    place: str
    size: str


def larger(place: str, source: str) -> Iterator[Found]:
    """All in a file that is larger than it may be.

    Args:
        place: what the file is called.
        source: its text.
    """
    lines = len(source.splitlines())
    if lines > MOST_LINES:
        yield Found(place, f"{lines} lines, at most {MOST_LINES}")
    yield from _larger(place, "", ast.parse(source))


def _larger(place: str, within: str, tree: ast.AST) -> Iterator[Found]:
    for node in ast.iter_child_nodes(tree):
        inside = within
        if isinstance(node, ast.ClassDef):
            inside = f"{within}{node.name}."
            methods = len({each.name for each in node.body if _is_public_method(each)})
            if methods > MOST_METHODS:
                name = f"{place} {within}{node.name}"
                yield Found(name, f"{methods} public methods, at most {MOST_METHODS}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{within}{node.name}."
            parameters = _parameters(node)
            if parameters > MOST_PARAMETERS:
                name = f"{place} {within}{node.name}"
                yield Found(name, f"{parameters} parameters, at most {MOST_PARAMETERS}")
        yield from _larger(place, inside, node)


def _is_public_method(node: ast.stmt) -> bool:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return is_function and not node.name.startswith("_")


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    taken = node.args
    names = [each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def main() -> int:
    """Print what is larger than it may be; returns the exit code."""
    found = {
        each.place: each.size
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.name.endswith("_pb2.py")
        for each in larger(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    }
    wrong = [f"{place}: {size}" for place, size in found.items() if place not in LARGER]
    wrong += [f"{place}: is in LARGER, and not larger" for place in sorted(LARGER - found.keys())]
    for each in wrong:
        print(each)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
