"""What `make lint` says of files, classes and functions that have become too large."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "limits", Path(__file__).parents[2] / "scripts" / "limits.py"
)
limits = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(limits)


def class_with(public, private=0):
    names = [f"m{n}" for n in range(public)] + [f"_m{n}" for n in range(private)]
    return "class Large:\n" + "".join(f"    def {name}(self): ...\n" for name in names)


def function_with(parameters, *, method=False):
    names = ", ".join(["self"] * method + [f"p{n}" for n in range(parameters)])
    function = f"def wide({names}): ...\n"
    return f"class Wide:\n    {function}" if method else function


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("\n" * limits.MOST_LINES, []),
        ("\n" * (limits.MOST_LINES + 1), ["file.py"]),
        (class_with(limits.MOST_METHODS, private=9), []),
        (class_with(limits.MOST_METHODS + 1), ["file.py Large"]),
        (function_with(limits.MOST_PARAMETERS), []),
        (function_with(limits.MOST_PARAMETERS, method=True), []),
        (function_with(limits.MOST_PARAMETERS + 1), ["file.py wide"]),
        (function_with(limits.MOST_PARAMETERS + 1, method=True), ["file.py Wide.wide"]),
    ],
)
def test_what_is_larger_than_it_may_be_is_named(source, found):
    assert [each.place for each in limits.larger("file.py", source)] == found


def test_properties_count_once_with_their_setters():
    setter = "    @m0.setter\n    def m0(self, value): ...\n"
    assert not list(limits.larger("file.py", class_with(limits.MOST_METHODS) + setter))
