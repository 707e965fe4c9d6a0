"""The handler of an Event Stream, run in Jython and posting to a consumer that takes its events."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.event_stream import SENT_MS
from support.jython_gateway import run
from support.posting import TOKEN, serving

from consumer.errors import ConfigurationError
from consumer.setup.ignition.handler import MARK, Key, handler_body, masked

JYTHON = shutil.which("jython")
IN_JYTHON = pytest.mark.skipif(JYTHON is None, reason="no jython: scripts/ensure-jython.sh")
INTERPRETERS = [
    pytest.param(sys.executable, id="python3"),
    pytest.param(JYTHON, id="jython", marks=[IN_JYTHON, pytest.mark.long]),
]


@pytest.fixture(params=INTERPRETERS)
def interpreter(request):
    return request.param


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path, http={"token": TOKEN, "source_system_id": "gateway-7"}) as served:
        yield served


def url_of(served):
    return f"{served.client.base_url}/ingest/batch"


def posted(served, interpreter, script, **key):
    """What a gateway tells that ran the handler against a consumer."""
    body = handler_body(url_of(served), "fast", Key(**(key or {"text": TOKEN})))
    return run(interpreter, body, f"SENT = {SENT_MS}\n{script}")


def by_name(served):
    return {row["metric_name"]: row for row in served.rows()}


VALUES = """
def event(name, data, **more):
    told = dict(tagPath="[default]Line 1/" + name, quality="Good", qualityCode=192, timestamp=SENT)
    told.update(more)
    return Event(data, **told)

class Date:
    def getTime(self):
        return SENT

class Table:
    def getColumnNames(self):
        return ["t", "v"]
    def getColumnCount(self):
        return 2
    def getRowCount(self):
        return 2
    def getValueAt(self, row, column):
        return [[Date(), 1.5], [Date(), float("nan")]][row][column]

calls = [[
    event("bool", True), event("int", -7), event("long", 2 ** 53 + 1), event("huge", 2 ** 63),
    event("beyond", 2 ** 70), event("float", 21.5), event("nan", float("nan")),
    event("inf", -float("inf")), event(u"text \\u00e9 \\U0001f600", u"\\u03a9 \\u20ac"),
    event("null", None), event("date", Date()), event("array", [1, 2.5, None, u"\\u00e9"]),
    event("document", {"a": {"b": [True]}}), event("table", Table()), event("empty", u""),
]]
"""


def test_values_of_every_kind_arrive_as_what_they_are(served, interpreter):
    (told,) = posted(served, interpreter, VALUES)["calls"]
    assert told == {"raised": "", "log": [], "posted": [15]}
    rows = by_name(served)
    told = {
        name: (row["data_type"], row["numeric_value"], row["integer_value"], row["string_value"])
        for name, row in rows.items()
    }
    assert told == {
        "bool": ("Boolean", None, None, None),
        "int": ("Int64", -7.0, -7, None),
        "long": ("Int64", float(2**53 + 1), 2**53 + 1, None),
        "huge": ("UInt64", float(2**63), None, str(2**63)),
        "beyond": ("String", None, None, str(2**70)),
        "float": ("Double", 21.5, None, None),
        "nan": ("Double", None, None, "NaN"),
        "inf": ("Double", None, None, "-Infinity"),
        "text é 😀": ("String", None, None, "Ω €"),
        "null": ("Unknown", None, None, None),
        "date": ("DateTime", None, SENT_MS, "2026-11-23T14:13:34.123Z"),
        "array": ("String", None, None, '[1, 2.5, null, "\\u00e9"]'),
        "document": ("String", None, None, '{"a": {"b": [true]}}'),
        "table": ("String", None, None, rows["table"]["string_value"]),
        "empty": ("String", None, None, ""),
    }
    assert rows["bool"]["boolean_value"] is True
    assert json.loads(rows["table"]["string_value"]) == {
        "columns": ["t", "v"],
        "rows": [[SENT_MS, 1.5], [SENT_MS, "NaN"]],
    }
    assert {row["tag_path"].rpartition("/")[0] for row in rows.values()} == {"[default]Line 1"}
    assert {row["event_time"] for row in rows.values()} == {SENT_MS * 1000}
    assert {row["quality"] for row in rows.values()} == {"GOOD"}
    assert {row["source_system_id"] for row in rows.values()} == {"gateway-7"}


JAVA = """
from java.lang import Double, Float, Integer, Long, Short, String
from java.math import BigDecimal, BigInteger
from java.util import ArrayList, Arrays, Date, HashMap
from jarray import array, zeros

class JavaEvent:
    def __init__(self, name, data):
        self.data = data
        self.metadata = HashMap()
        self.metadata.put("tagPath", String("[default]Java/" + name))
        self.metadata.put("quality", "Bad_Stale")
        self.metadata.put("qualityCode", Integer(-2147483132))
        self.metadata.put("timestamp", Long(SENT))

held = ArrayList()
for each in (Integer(4), Short(2), Long(8), Float(0.5), Double(0.25), Double.NaN,
             String(u"\\u03a9"), Date(SENT), BigDecimal("1.75"), BigInteger("12345678901234567890"),
             array([1.5, 2.5], "d"), zeros(2, "z"), Arrays.asList("a", "b"), HashMap({"k": 1})):
    held.add(each)
calls = [[JavaEvent("%02d" % number, each) for number, each in enumerate(held)]]
"""


@IN_JYTHON
def test_values_of_java_arrive_as_those_of_python(served):
    (told,) = posted(served, JYTHON, JAVA)["calls"]
    assert told == {"raised": "", "log": [], "posted": [14]}
    rows = sorted(served.rows(), key=lambda row: row["metric_name"])
    assert [row["data_type"] for row in rows] == [
        *["Int64"] * 3,
        *["Double"] * 3,
        "String",
        "DateTime",
        "Double",
        "UInt64",
        *["String"] * 4,
    ]
    assert [row["numeric_value"] for row in rows[:5]] == [4.0, 2.0, 8.0, 0.5, 0.25]
    assert rows[8]["numeric_value"] == 1.75
    assert [row["string_value"] for row in rows[5:8]] == ["NaN", "Ω", "2026-11-23T14:13:34.123Z"]
    assert [row["string_value"] for row in rows[9:]] == [
        "12345678901234567890",
        "[1.5, 2.5]",
        "[false, false]",
        '["a", "b"]',
        '{"k": 1}',
    ]
    assert {row["quality"] for row in rows} == {"STALE"}
    assert {row["event_time"] for row in rows} == {SENT_MS * 1000}


QUALITIES = """
class Code:
    def getCode(self):
        return 192
    def __str__(self):
        return "Good"

def event(name, **more):
    return Event(1.0, tagPath="Q/" + name, provider="default", timestamp=SENT, **more)

calls = [[
    event("code", quality="Good", qualityCode=0x80000204), event("signed", qualityCode=-2147483132),
    event("name", quality="Bad_Stale"), event("diagnosis", quality='Bad_Stale("lost it (again)")'),
    event("object", quality=Code()), event("number", quality=500), event("none"),
    event("digits", quality="192"), event("odd", quality="Splendid"),
    event("far", qualityCode=2 ** 40),
]]
"""


def test_qualities_are_read_in_every_form(served, interpreter):
    (told,) = posted(served, interpreter, QUALITIES)["calls"]
    assert told == {"raised": "", "log": [], "posted": [10]}
    assert {name: row["quality"] for name, row in by_name(served).items()} == {
        "code": "STALE",
        "signed": "STALE",
        "name": "STALE",
        "diagnosis": "STALE",
        "object": "GOOD",
        "number": "STALE",
        "none": "GOOD",
        "digits": "GOOD",
        "odd": "UNCERTAIN",
        "far": "GOOD",
    }


WHOLE = """
import json
whole = {"value": 419, "quality": "Good", "timestamp": SENT}
class Adapter:
    def get(self, key):
        return whole.get(key)
class Element:
    def __init__(self, told):
        self.told = told
    def isJsonNull(self):
        return False
    def __str__(self):
        return json.dumps(self.told)
calls = [[
    Event(whole, tagPath="[default]W/dict", isInitial=True), Event(Adapter(), tagPath="W/adapter"),
    Event(json.dumps(whole), tagPath="W/text"), Event(Element(whole), tagPath="W/element"),
    Event(dict(whole, value=u"{}"), tagPath="W/looks like JSON"),
    Event(dict(whole, value=None, quality="Bad_NotFound"), tagPath="W/null"),
    Event(u'{"value": 1, "timestamp": 2}', tagPath="W/its own text", timestamp=SENT),
]]
"""


def test_value_quality_and_time_may_be_in_the_data(served, interpreter):
    (told,) = posted(served, interpreter, WHOLE)["calls"]
    assert told == {"raised": "", "log": [], "posted": [7]}
    rows = by_name(served)
    for name in ("dict", "adapter", "text", "element"):
        assert (rows[name]["integer_value"], rows[name]["quality"]) == (419, "GOOD")
    assert rows["looks like JSON"]["string_value"] == "{}"
    assert (rows["null"]["numeric_value"], rows["null"]["quality"]) == (None, "BAD")
    assert rows["its own text"]["string_value"] == '{"value": 1, "timestamp": 2}'
    assert {row["event_time"] for row in rows.values()} == {SENT_MS * 1000}


def test_the_key_is_read_from_its_file_at_each_call(served, interpreter, tmp_path):
    file = tmp_path / "kéy"
    file.write_text(f"{TOKEN}\n")
    script = f"""
def calling():
    for key in ("", "another-key-than-that", "  "):
        if key:
            with open(u{str(file)!a}, "w") as opened:
                opened.write(key)
        yield [Event(1.0, tagPath="a/b", timestamp=SENT)]
calls = calling()
"""
    told = posted(served, interpreter, script, path=str(file))
    first, wrong, empty = told["calls"]
    assert first == {"raised": "", "log": [], "posted": [1]}
    assert " answers 401 " in wrong["raised"]
    assert "is empty" in empty["raised"]
    assert empty["posted"] == []
    assert told["clients"] == 1
    assert told["logger"] == "sparkplug-zerobus.fast"
    assert len(served.rows()) == 1


def test_what_is_dropped_is_logged_and_not_tried_again(served, interpreter):
    script = (
        "calls = [[Event(1.0, tagPath='a/', timestamp=SENT),"
        " Event(2.0, tagPath='a/b', timestamp=SENT)],"
        " [Event(3.0, tagPath='', timestamp=SENT)]]"
    )
    some, none = posted(served, interpreter, script)["calls"]
    assert some["raised"] == ""
    assert '"dropped": 1' in some["log"][0]
    assert "tag_path_missing" in some["log"][0]
    assert none["raised"] == ""
    assert none["log"][0].startswith("error 1 events are lost: ")
    assert " answers 422 " in none["log"][0]
    assert [row["numeric_value"] for row in served.rows()] == [2.0]


def test_an_event_of_no_known_shape_costs_itself_alone(served, interpreter):
    script = "calls = [[object(), Event(1.0, tagPath='a/b', timestamp=SENT)]]"
    (told,) = posted(served, interpreter, script)["calls"]
    assert told["raised"] == ""
    assert told["log"] == ["error 1 events are lost: they have a shape that is not known"]
    assert len(served.rows()) == 1


def test_an_event_without_a_time_is_told_of_once(served, interpreter):
    script = "calls = [[Event(1.0, tagPath='a/b', timestamp='noon')], [Event(1.0, tagPath='a/b')]]"
    first, second = posted(served, interpreter, script)["calls"]
    assert first["log"][0].startswith("warn events without a time that can be read")
    assert second == {"raised": "", "log": [], "posted": [1]}
    assert len({row["event_id"] for row in served.rows()}) == 2


def test_more_events_than_a_body_may_have_are_split(served, interpreter):
    script = """
calls = [
    [Event(1.0 * each, tagPath="a/%d" % each, timestamp=SENT) for each in range(20001)],
    [Event(u"x" * 3000000, tagPath="b/%d" % each, timestamp=SENT) for each in range(4)],
    [Event(u"x" * (11 << 20), tagPath="c/c", timestamp=SENT)],
    [],
]
"""
    many, large, too_large, none = posted(served, interpreter, script)["calls"]
    assert many == {"raised": "", "log": [], "posted": [10000, 10000, 1]}
    assert large == {"raised": "", "log": [], "posted": [2, 2]}
    assert too_large["log"][0].startswith("error 1 events are lost: ")
    assert none["posted"] == []
    assert len(served.rows()) == 20005


class Scripted(BaseHTTPRequestHandler):
    """Takes 100 events at a time, as a proxy before a consumer may; answers what is asked for."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, None)
        events = len(json.loads(body))
        if events > 100:
            status, answer = 413, "<html>too large"
        else:
            self.server.taken += events
        self.send_response(status)
        self.end_headers()
        told = {"accepted": events, "dropped": 0} if answer is None else answer
        self.wfile.write((told if isinstance(told, str) else json.dumps(told)).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.answers, server.taken = [], 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_proxy_that_takes_less_is_sent_less(scripted, interpreter):
    body = handler_body(f"http://127.0.0.1:{scripted.server_port}/ingest/batch", "fast", Key())
    script = "calls = [[Event(1, tagPath='a/b', timestamp=1)] * 1000]"
    (told,) = run(interpreter, body, script)["calls"]
    assert (told["raised"], told["log"]) == ("", [])
    assert scripted.taken == 1000


def test_what_may_pass_is_raised_so_that_it_is_tried_again(scripted, interpreter):
    body = handler_body(f"http://127.0.0.1:{scripted.server_port}/ingest/batch", "fast", Key())
    answers = [(503, {"error": "busy", "reason": "spool_full"}), (429, ""), (500, ""), (302, "")]
    scripted.answers = [*answers, (200, "<html>logged in?")]
    script = "calls = [[Event(1, tagPath='a/b', timestamp=1)] for _ in range(6)]"
    told = run(interpreter, body, script)["calls"]
    assert [each["raised"].partition(" answers ")[2][:3] for each in told[:4]] == [
        "503",
        "429",
        "500",
        "302",
    ]
    assert told[4]["raised"]
    assert told[5] == {"raised": "", "log": [], "posted": [1]}
    assert [each["log"] for each in told[:5]] == [[]] * 5


def test_a_consumer_that_is_away_is_tried_again(interpreter):
    body = handler_body("http://127.0.0.1:9/ingest/batch", "fast", Key())
    (told,) = run(interpreter, body, "calls = [[Event(1, tagPath='a/b', timestamp=1)]]")["calls"]
    assert told["raised"]


def test_each_line_is_indented_with_a_tab_and_the_first_tells_whose_it_is():
    lines = handler_body("http://consumer/ingest/batch", "a", Key()).splitlines()
    assert lines[0] == f"\t{MARK}"
    assert all(
        line.startswith("\t") and not line.lstrip("\t").startswith(" ") for line in lines if line
    )


def test_a_body_is_shown_without_its_key():
    shown = masked(handler_body("http://consumer/ingest/batch", "a", Key(text=TOKEN)))
    assert TOKEN not in shown
    assert '\tkey = u"***"\n' in shown
    assert masked(handler_body("http://consumer/x", "a", Key())) == handler_body(
        "http://consumer/x", "a", Key()
    )


@pytest.mark.parametrize("key", ["two words", "l1\nl2", "schlüssel", 'q"' * 600])
def test_a_key_that_no_header_carries_is_refused(key):
    with pytest.raises(ConfigurationError, match="printable ASCII") as refused:
        handler_body("http://consumer/x", "a", Key(text=key))
    assert key not in str(refused.value)


def test_a_key_with_quotes_stays_a_text(interpreter, scripted):
    body = handler_body(f"http://127.0.0.1:{scripted.server_port}/x", "a", Key(text='"\\+key'))
    (told,) = run(interpreter, body, "calls = [[Event(1, tagPath='a/b', timestamp=1)]]")["calls"]
    assert told["raised"] == ""
