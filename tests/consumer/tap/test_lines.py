"""Lines of what is shown: bounded, on one line, to the width of a terminal, and as JSON."""

import json
import math

import pytest
from rich.cells import cell_len

from consumer.foreign import json_text
from consumer.tap.items import Change, Heard, Row
from consumer.tap.lines import json_of, pieces_of

AT_US = 1_795_443_214_123_456  # 2026-11-23T14:13:34.123456Z
HOSTILE = "A\x1b[2J\u202eB\nfail [red]x[/red]\x07"


def change(**fields):
    ids = fields.pop("ids", ("Plant", "Edge", "Boiler"))
    place = "/".join(filter(None, ids))
    known = {
        "metric": "Level",
        "alias": None,
        "event_us": AT_US,
        "received_us": AT_US + 1_000,
        "value": 12.5,
        "datatype": "Double",
        "unit": "bar",
        "quality": "GOOD",
        "quality_code": 192,
        "historical": False,
        "seq": 7,
    }
    return Change("plant-a", fields.pop("kind", "DDATA"), place, *ids, **known | fields)


def message(**fields):
    known = {
        "topic": "spBv1.0/Plant/NDATA/Edge",
        "kind": "NDATA",
        "payload": b"\x10\x01",
        "received_us": AT_US,
        "retained": False,
    }
    return Heard("plant-a", **known | fields)


def line(item, *, with_server=False, raw=False, width=None):
    pieces = pieces_of(item, with_server=with_server, raw=raw, width=width)
    return "".join(piece.text for piece in pieces)


def test_a_change_is_time_place_metric_value_unit_and_quality():
    assert line(change()) == "2026-11-23T14:13:34.123Z  Plant/Edge/Boiler  Level  12.5 bar  GOOD"


def test_what_is_remarkable_stands_behind_it():
    odd = change(
        ids=("Plant", "Edge", None),
        kind="NBIRTH",
        metric=None,
        alias=3,
        unit="",
        historical=True,
        quality="BAD",
        note="why",
    )
    assert line(odd, with_server=True) == (
        "2026-11-23T14:13:34.123Z  plant-a  Plant/Edge  alias 3  12.5  BAD  H  NBIRTH  (why)"
    )


@pytest.mark.parametrize(
    ("value", "datatype", "shown"),
    [
        (None, "Double", "null"),
        (None, "Template", "(Template)"),
        (True, "Boolean", "true"),
        (-(2**63), "Int64", "-9223372036854775808"),
        (0.10000000149011612, "Float", "0.1"),
        (0.1 + 0.2, "Double", "0.30000000000000004"),
        ('say "no"', "String", r'"say \"no\""'),
        (1_795_443_214_123, "DateTime", "2026-11-23T14:13:34.123000Z"),
        (2**62, "DateTime", str(1_000 * 2**62)),
        (HOSTILE, "String", r'"A\x1b[2J\u202eB\nfail [red]x[/red]\x07"'),
    ],
)
def test_values_are_shown_by_their_datatype(value, datatype, shown):
    assert line(change(value=value, datatype=datatype, unit="")).split("  ")[3] == shown


def test_on_a_terminal_the_day_is_left_out_where_it_is_that_of_the_arrival():
    assert line(change(), width=120).startswith("14:13:34.123  Plant")
    yesterday = change(event_us=AT_US - 86_400_000_000)
    assert line(yesterday, width=120).startswith("2026-11-22T14:13:34.123Z  Plant")


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize(
    "item",
    [
        change(metric="M" * 4_096, value="v" * 100_000),
        change(metric="温" * 100, value="度" * 100, unit="℃"),
        change(ids=("G" * 900, "E" * 900, None), metric=HOSTILE * 90),
        message(topic="spBv1.0/" + "G" * 900 + "/NDATA/E", seq=5, metrics=2, problem="bad_payload"),
        message(kind="STATE", payload=b"{" * 10_000),
    ],
    ids=["long", "wide", "hostile", "message", "state"],
)
def test_a_line_is_never_wider_than_the_terminal(item, width):
    shown = line(item, width=width)
    assert cell_len(shown) <= width
    assert shown.isprintable()


def test_of_a_number_no_digit_is_cut_off_and_quality_stays():
    shown = line(change(metric="M" * 100, value=-1234567.25, unit="bar"), width=80)
    assert "  -1234567.25 bar  GOOD" in shown
    assert "\u2026M" in shown  # the end of a name says more than its beginning


@pytest.mark.parametrize("width", range(30, 70, 5))
def test_where_there_is_hardly_any_room_value_and_quality_stay_longest(width):
    old = change(event_us=AT_US - 86_400_000_000, metric="M" * 100, value=-1234567.25)
    shown = line(old, width=width)
    assert shown.endswith("  -1234567.25 bar  GOOD")
    assert cell_len(shown) <= width


@pytest.mark.parametrize(
    "item",
    [
        change(metric=HOSTILE * 500, value=HOSTILE * 10_000, unit=HOSTILE, quality="STALE"),
        change(ids=(HOSTILE * 90, HOSTILE, None), value="\U000e0100" * 9_999),
        message(topic=HOSTILE * 900, problem="bad_payload", metrics=3, seq=1),
        message(kind="STATE", payload=b"\xff\x1b" * 9_000),
    ],
    ids=["change", "place", "message", "state"],
)
def test_whatever_others_wrote_is_one_line_of_bounded_length(item):
    shown = line(item)
    assert shown.isprintable()
    assert len(shown) < 2_000
    assert json.loads(json_text(json_of(item, raw=False)))


def test_a_text_that_is_cut_says_how_long_it_is():
    assert line(change(value="x" * 301)).endswith('x\u2026 (301 characters)" bar  GOOD')
    assert json_of(change(value="x" * 65_537), raw=False)["characters"] == 65_537


def test_a_message_is_shown_with_what_its_payload_says_of_itself():
    assert line(message(seq=5, metrics=1)) == (
        "2026-11-23T14:13:34.123Z  NDATA  spBv1.0/Plant/NDATA/Edge  seq 5  1 metric  2 bytes"
    )
    odd = message(kind="", topic="x/y", payload=b"", retained=True, problem="bad_payload")
    assert line(odd).endswith("  -  x/y  0 bytes  retained  cannot be read: bad_payload")
    state = message(kind="STATE", topic="spBv1.0/STATE/host", payload=b'{"online": true}')
    assert line(state).endswith('  STATE  spBv1.0/STATE/host  {"online": true}')


def test_a_payload_is_shown_in_hex_and_a_long_one_up_to_a_mebibyte():
    assert line(message(), raw=True).endswith("  spBv1.0/Plant/NDATA/Edge  1001")
    long = message(payload=b"\xab" * (2**20 + 5))
    assert line(long, raw=True).endswith("abab ... (5 bytes more)")
    shown = json_of(long, raw=True)
    assert shown["payload"] == "ab" * 2**20
    assert (shown["bytes"], shown["bytes_left_out"]) == (2**20 + 5, 5)


def test_json_has_exact_values_and_full_times():
    shown = json_of(change(value=2**63 - 1, datatype="Int64"), raw=False)
    assert shown == {
        "time": "2026-11-23T14:13:34.123456Z",
        "received": "2026-11-23T14:13:34.124456Z",
        "server": "plant-a",
        "group": "Plant",
        "node": "Edge",
        "device": "Boiler",
        "metric": "Level",
        "type": "DDATA",
        "value": 9223372036854775807,
        "datatype": "Int64",
        "unit": "bar",
        "quality": "GOOD",
        "quality_code": 192,
        "historical": False,
        "seq": 7,
    }


def test_json_has_no_number_that_is_none():
    assert json_of(change(value=math.nan), raw=False)["value"] == "nan"
    assert json_of(Row({"numeric_value": math.inf, "seq": 5}), raw=False) == {
        "numeric_value": "inf",
        "seq": 5,
    }
