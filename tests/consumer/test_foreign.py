"""What others wrote is shown on one line, and steers no terminal."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.foreign import escaped, escaped_lines, json_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x07b", r"a\x1b[2J\x07b"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
        ("\u202eabc\u2066\u2069\u200e\u200f\u061c", r"\u202eabc\u2066\u2069\u200e\u200f\u061c"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("a\u200bb\u200d\ufeff\u00adc", r"a\u200bb\u200d\ufeff\xadc"),
        ("a\ufe0f\U000e0100\U000e0041", r"a\ufe0f\U000e0100\U000e0041"),
        ("a\u3164b\u034fc", r"a\u3164b\u034fc"),
        ("\ud800 \ue000 \U000f0000 \u0378", r"\ud800 \ue000 \U000f0000 \u0378"),
    ],
)
def test_what_cannot_be_seen_is_written_as_in_a_string_literal(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Pumpe Ü 3/ß",
        "Cafe\u0301",
        "ポンプ 3号",
        "насос",
        "مضخة",
        "溫度 °C",
        "🏭🔥",
        "[red]a\\nb",
        "",
    ],
)
def test_letters_of_every_script_and_emoji_stay(text):
    assert escaped(text) == text


@given(st.text(st.characters(codec=None)))
def test_nothing_that_is_shown_would_have_to_be_escaped(text):
    once = escaped(text)
    assert escaped(once) == once
    assert len(once.splitlines()) <= 1
    assert escaped_lines(text).count("\n") == text.count("\n")


def test_every_character_of_the_unfit_categories_is_escaped():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs"}:
            assert escaped(character).isascii(), hex(code)


@given(st.text(st.characters(codec=None)))
def test_json_is_exact_and_can_be_seen(text):
    written = json_text({"id": text})
    assert json.loads(written) == {"id": text}
    assert written.isascii()
    assert written.isprintable()
