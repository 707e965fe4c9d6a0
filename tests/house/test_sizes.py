"""Classes and functions of the library stay small enough to be held in mind.

A class that needs more names has parts that are things of their own; a function that needs more
parameters is given an object that means something.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "sparkplug").rglob("*.py"))
    if not path.stem.endswith("_pb2")
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

MOST_PUBLIC = 15
"""Methods and properties of one class without an underscore before their name."""

MOST_PARAMETERS = 8
"""Beside `self`."""


def public(each):
    functions = (part for part in each.body if isinstance(part, FUNCTIONS))
    return [part.name for part in functions if not part.name.startswith("_")]


def parameters(each):
    names = [arg.arg for arg in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@pytest.mark.parametrize("path", TREES)
def test_a_class_has_no_more_public_methods_than_a_reader_can_survey(path):
    classes = [each for each in ast.walk(TREES[path]) if isinstance(each, ast.ClassDef)]
    assert {each.name: public(each) for each in classes if len(public(each)) > MOST_PUBLIC} == {}


@pytest.mark.parametrize("path", TREES)
def test_a_function_has_no_more_parameters_than_a_caller_can_tell_apart(path):
    functions = [each for each in ast.walk(TREES[path]) if isinstance(each, FUNCTIONS)]
    many = [each for each in functions if len(parameters(each)) > MOST_PARAMETERS]
    assert [(each.name, each.lineno, parameters(each)) for each in many] == []
