"""What births say of the instances around leaf metrics, for whoever describes these as tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.payload import definition_name, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparkplug.payload import Expansion, JsonValue, TemplateDefinitions, Within

INSTANCES: Final = "@instances"
"""Key of the instances around a tag: a list, the outermost first, of objects with `path`, the
name of the instance's metric or the path of a nested one, and `template`, the name of its
definition without the folder of definitions, null where the instance names none.
"""
PARAMETERS: Final = "@parameters"
"""Key of the parameters of a tag's innermost instance, as an object."""

_MOST_CHARACTERS: Final = 16 * 1024 * 1024
"""Of what is told in one birth under each key, repeated for each leaf."""


def told_of(expansions: Sequence[Expansion], definitions: TemplateDefinitions) -> list[str | None]:
    """What is told of the instances around each leaf of a birth.

    Args:
        expansions: of the outermost instances, in order.
        definitions: those that the node has declared.

    Returns:
        For each leaf, `members` before `declared` of each expansion, members of a JSON object
        under INSTANCES and PARAMETERS, without its braces; None where there is nothing to be told.
        What would be too much in all is left out for all leaves.
    """
    instances = _bounded([text for each in expansions for text in _instances(each)])
    parameters = _bounded([text for each in expansions for text in _parameters(each, definitions)])
    return [
        ",".join(text for text in texts if text) or None
        for texts in zip(instances, parameters, strict=True)
    ]


def _bounded(texts: list[str | None]) -> list[str | None]:
    characters = sum(len(text) for text in texts if text)
    return texts if characters <= _MOST_CHARACTERS else [None] * len(texts)


def _instances(expansion: Expansion) -> Iterator[str]:
    texts = [_within(instance.within) for instance in expansion.instances]
    yield from (texts[index] for index in expansion.instance_of)
    of_declared = {id(within): within for within in expansion.declared_in}  # many share one
    texts_of_declared = {key: _within(within) for key, within in of_declared.items()}
    yield from (texts_of_declared[id(within)] for within in expansion.declared_in)


def _within(within: Within) -> str:
    said: list[JsonValue] = [
        {"path": path, "template": None if ref is None else definition_name(ref)}
        for path, ref in within
    ]
    return f'"{INSTANCES}":{json_text(said)}'


def _parameters(expansion: Expansion, definitions: TemplateDefinitions) -> Iterator[str | None]:
    texts: list[str | None] = []
    for instance in expansion.instances:
        of_all = definitions.parameters_of(instance.template_ref, instance.parameters)
        texts.append(f'"{PARAMETERS}":{json_text(of_all)}' if of_all else None)
    yield from (texts[index] for index in expansion.instance_of)
    for _ in expansion.declared:
        yield texts[0]
