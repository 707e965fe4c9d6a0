"""A configuration file is read within bounds, and refused in one line that names file and line."""

import pytest
from support.config_cases import SECRET, refusal, write

from consumer.config import load
from consumer.config.yaml_file import MOST_BYTES, MOST_NODES, read_yaml
from consumer.errors import ConfigurationError


def laughs(first, depth=30):
    """Every line stands for ten of the one before."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


def merged_laughs(depth=30):
    lines = ["a0: &a0 {k0: x, l0: y}"]
    lines += [
        f"a{n}: &a{n} {{k{n}: x, <<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, depth)
    ]
    return "\n".join(lines)


def refused(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert len(said) < 400 + len(str(path))
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs("[x]", 5), "line 5: up to here there are more than 20,000 keys and values"),
        (laughs("[x]"), "line 5: up to here there are more than 20,000 keys and values"),
        (merged_laughs(), "line 5: up to here there are more than 20,000 keys and values"),
        (laughs(f"{'x' * 100_000}"), "line 2: up to here there are more than"),
        ("- a\n" * (MOST_NODES + 1), "line 20000: up to here"),
        ("a:\n" + "\n".join(f" - k{n}: x" for n in range(MOST_NODES)), "up to here"),
        ("x: &a [*a]", "line 1: is nested too deeply: the alias is within what it stands for"),
        ("x: &a {b: {c: *a}}", "line 1: is nested too deeply: the alias is within"),
        ("a: 1\nb: " + "[" * 5000, "line 2: is nested too deeply; no key"),
        ("a: &a [[[[[x]]]]]\nb:\n  c: [[[[*a]]]]", "line 3: is nested too deeply; no key"),
        ("# " + "x" * MOST_BYTES, "is larger than 1024 KiB"),
        ("a: 1" + ":59" * 100_000, "line 1: looks like a number or a date, and is none"),
        ("a: 0x" + "f" * 1000, "line 1: looks like a number or a date, and is none"),
        ("log:\n  level: 2026-13-45", "line 2: looks like a number or a date, and is none"),
        (f"a: !!int {SECRET}", "line 1: looks like a number or a date, and is none"),
        (f"a: !!float {SECRET}", "line 1: looks like a number or a date, and is none"),
        (f"a: !!bool {SECRET}", "line 1: looks like a number or a date, and is none"),
        (f"a: !!timestamp {SECRET}", "line 1: looks like a number or a date, and is none"),
        (f"? [{SECRET}]\n: x", "line 1, column 3: not valid YAML"),
        (f"a: {{<<: {SECRET}}}", "line 1, column 9: not valid YAML"),
        ("a: 1\n---\na: 2", "line 2, column 1: not valid YAML"),
        (f"user:{SECRET}@host: 1\nuser:{SECRET}@host: 2", "(no name): is given twice, in lines 1"),
    ],
)
def test_what_is_too_much_or_of_no_type_is_refused_in_one_line(tmp_path, text, words):
    said = refused(tmp_path, text)
    assert words in said
    assert SECRET not in said


def test_aliases_and_merge_keys_within_the_bounds_are_read(tmp_path):
    path = write(
        tmp_path,
        "first: &first {tls: &tls {ca_file: ca.pem}, name: a}\n"
        "second: {<<: *first, name: b}\n"
        "third: &third {<<: *first, name: c}\n"
        "fourth: {<<: [*third, {x: 1}], tls: *tls}\n",
    )
    tls = {"ca_file": "ca.pem"}
    assert read_yaml(path) == {
        "first": {"tls": tls, "name": "a"},
        "second": {"tls": tls, "name": "b"},
        "third": {"tls": tls, "name": "c"},
        "fourth": {"tls": tls, "name": "c", "x": 1},
    }


def test_what_is_taken_over_before_its_own_section_is_made_is_no_key_given_twice(tmp_path):
    path = write(tmp_path, "a: {b: {c: &c {<<: {x: 1}, x: 2}}}\nd: {<<: *c}\n")
    assert read_yaml(path)["d"] == {"x": 2}


def test_thousands_of_wrong_keys_are_told_with_the_names_of_a_few(tmp_path):
    said = refused(tmp_path, "\n".join(f"kye{n}: x" for n in range(5000)))
    assert said.startswith("kye0: unknown key; ")
    assert said.endswith("(and 4999 more: kye1, kye2, kye3, kye4, kye5, ...)")


def test_variables_put_in_no_more_than_a_file_may_hold(tmp_path):
    path = write(tmp_path, "host: {id: '" + "${LONG}" * 1000 + "'}\n")
    with pytest.raises(ConfigurationError, match=r"host\.id: more than 1 MiB comes from") as caught:
        load(path, {"LONG": SECRET * 1000})
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "number",
    [10**400, 10**5000, -(10**5000), "1" * 100_000 + "MiB"],
    ids=["large", "larger", "negative", "text"],
)
@pytest.mark.parametrize("key", ["max_bytes", "max_delay", "max_messages", "quiet_delay"])
def test_a_number_of_many_digits_is_refused_like_another(number, key):
    said = refusal((f"batch.{key}", number))
    assert said.startswith(f"c.yaml: batch.{key}: must be")
    assert len(said) < 250
