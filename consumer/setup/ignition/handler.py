"""The body of an Event Stream's script handler: it posts events to the consumer's `/ingest/batch`.

Ignition runs it as the body of `def onEventsReceived(events, state):`, in Jython 2.7. What is
said of events and answers here is on docs/event-streams.md. It was run in Jython, never in a live
gateway.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from consumer.errors import ConfigurationError

MARK: Final = "# sparkplug-zerobus ignition event-stream: posts what it gets to /ingest/batch."
"""The first line of every body that is made here, by which it is found again."""

MASKED: Final = "***"
"""In place of a key, where a body is shown."""

_SECOND: Final = (
    "# docs/event-streams.md says how it is made. Changes here are lost when it is made again."
)
_KEY: Final = re.compile(r"[!-~]{1,1024}")
_KEY_LINE: Final = re.compile(r'key = u".*"')
# Lines that differ from body to body, and hold nothing secret as they are made here.
_PLACE: Final = re.compile(r'(key_file|name) = u"[^"]*"|key = u""|url = u"https?://[^"@?]*"')


@dataclass(frozen=True, slots=True)
class Key:
    """The key with which a gateway posts; none of the two is no key at all.

    Attributes:
        path: the file on the gateway that holds it, read whenever events are posted.
        text: the key itself, which then lies in the project's file.
    """

    path: str = ""
    text: str = field(default="", repr=False)


def handler_body(url: str, stream: str, key: Key) -> str:
    r"""The body of the handler, each line indented with a tab, as `userCode` has it.

    Args:
        url: where to post, such as `http://consumer:8099/ingest/batch`.
        stream: the name of the Event Stream, for the gateway's log.
        key: the key to post with.

    Raises:
        ConfigurationError: the key cannot be one of an HTTP header.
    """
    if key.text and not _KEY.fullmatch(key.text):
        raise ConfigurationError(
            "the ingest key has characters that no HTTP header carries: one line of printable "
            "ASCII without spaces"
        )
    lines = [
        MARK,
        _SECOND,
        f"url = {_literal(url)}",
        f"name = {_literal('sparkplug-zerobus.' + stream)}",
        "log = system.util.getLogger(name)",
        f"key_file = {_literal(key.path)}",
        f"key = {_literal(key.text)}",
        *_CODE.strip("\n").splitlines(),
    ]
    return "\n".join(_indented(line) for line in lines) + "\n"


def masked(body: str) -> str:
    """A body to be shown: without its key, and without lines that are not made here.

    Somebody may have changed it in the Designer, and written a key in another way.
    """
    return "\n".join(map(_masked, body.split("\n")))


def _masked(line: str) -> str:
    code = line.strip()
    if code in _MADE or _PLACE.fullmatch(code):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return f'{indent}key = u"{MASKED}"' if _KEY_LINE.fullmatch(code) else indent + MASKED


def _literal(text: str) -> str:
    """A text as Python 2 and 3 read it alike: in ASCII."""
    return "u" + json.dumps(text)


def _indented(line: str) -> str:
    code = line.lstrip(" ")
    if not code:
        return ""
    return "\t" * (1 + (len(line) - len(code)) // 4) + code


# What is common to Python 2 and 3, so that it can be run without Jython, too. Objects of Java are
# known by what they can do: `instanceof` would need imports of classes that only a gateway has.
_CODE: Final = """
import json
import numbers

def text_of(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return u"%s" % (value,)

def is_text(value):
    return isinstance(value, (bytes, type(u"")))

# What the encoder jsonObject makes may be an object of Java.
def plain(value):
    if hasattr(value, "isJsonNull"):
        return json.loads(text_of(value))
    return value

def named(source, key):
    if source is None:
        return None
    if hasattr(source, "get"):
        return plain(source.get(key))
    return plain(getattr(source, key, None))

def number_of(value):
    if value == value and abs(value) != float("inf"):
        return float(value)
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"

# Within arrays, documents and data sets.
def nested(value):
    if value is None or isinstance(value, (bool, numbers.Integral)):
        return value
    if isinstance(value, numbers.Real):
        return number_of(value)
    if is_text(value):
        return text_of(value)
    if hasattr(value, "getTime"):
        return value.getTime()
    if hasattr(value, "getColumnNames"):
        columns = range(value.getColumnCount())
        rows = range(value.getRowCount())
        return {
            "columns": [text_of(each) for each in value.getColumnNames()],
            "rows": [[nested(value.getValueAt(row, each)) for each in columns] for row in rows],
        }
    if hasattr(value, "isJsonNull"):
        return nested(plain(value))
    if hasattr(value, "keys") and hasattr(value, "get"):
        return dict((text_of(each), nested(value.get(each))) for each in value.keys())
    if hasattr(value, "keySet") and hasattr(value, "get"):
        return dict((text_of(each), nested(value.get(each))) for each in value.keySet())
    if hasattr(value, "__iter__") or (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        return [nested(each) for each in value]
    return text_of(value)

# The value as it is sent, and the name of its datatype.
def typed(value):
    if value is None:
        return None, None
    if isinstance(value, bool):
        return value, "bool"
    if isinstance(value, numbers.Integral):
        if -(2 ** 63) <= value < 2 ** 63:
            return int(value), "int"
        return (int(value), None) if 0 < value < 2 ** 64 else (text_of(value), "String")
    if isinstance(value, numbers.Real):
        return number_of(value), "float"
    if is_text(value):
        return text_of(value), "String"
    if hasattr(value, "getTime"):
        return value.getTime(), "DateTime"
    if hasattr(value, "doubleValue"):
        try:
            return typed(int(text_of(value)))
        except ValueError:
            return number_of(value.doubleValue()), "float"
    made = nested(value)
    return (made if is_text(made) else json.dumps(made)), "String"

def millis(value):
    if value is None or isinstance(value, bool):
        return None
    if hasattr(value, "getTime"):
        return value.getTime()
    if isinstance(value, numbers.Real):
        return int(value)
    text = text_of(value).strip()
    return int(text) if text.isdigit() else None

# Code and name; a name may have a diagnosis in parentheses behind it.
def quality_of(value, code):
    if value is not None and code is None:
        if isinstance(value, numbers.Integral):
            value, code = None, value
        elif hasattr(value, "getCode"):
            code = value.getCode()
        elif hasattr(value, "get"):
            value, code = value.get("name"), value.get("code")
    if value is not None:
        value = text_of(value).split(u"(")[0].strip()
        if code is None and value.lstrip(u"-").isdigit():
            value, code = None, int(value)
    if not isinstance(code, numbers.Integral) or not -(2 ** 31) <= code < 2 ** 32:
        code = None
    return code, value

# A value beside its metadata, or an object of value, quality and timestamp: as text, too.
def qualified(data, metadata):
    timestamp = named(metadata, "timestamp")
    quality = named(metadata, "quality")
    if timestamp is None:
        whole = data
        if is_text(data) and text_of(data).lstrip()[:1] == u"{":
            try:
                whole = json.loads(text_of(data))
            except ValueError:
                pass
        if hasattr(whole, "get") and whole.get("timestamp") is not None:
            return tuple(plain(whole.get(each)) for each in ("value", "quality", "timestamp"))
    return data, quality, timestamp

def read(event):
    metadata = plain(event.metadata)
    value, quality, timestamp = qualified(plain(event.data), metadata)
    code, quality = quality_of(quality, named(metadata, "qualityCode"))
    value, datatype = typed(value)
    at = millis(timestamp)
    if at is None and not kept.get(name + u" untimed"):
        kept[name + u" untimed"] = True
        log.warn(u"events without a time that can be read: they get that of their arrival, and "
                 u"another id each time they are posted (said once)")
    path = named(metadata, "tagPath")
    provider = named(metadata, "provider")
    return json.dumps({
        "tagPath": u"" if path is None else text_of(path),
        "tagProvider": None if provider is None else text_of(provider),
        "value": value,
        "quality": quality,
        "qualityCode": code,
        "timestamp": at,
        "dataType": datatype,
    })

# The Event Stream tries again what is raised. Events have the same ids then.
def failed(text):
    raise Exception(text.encode("ascii", "backslashreplace").decode("ascii"))

def post(client, headers, made):
    answer = client.post(url, data="[" + ",".join(made) + "]", headers=headers)
    status, text = answer.statusCode, text_of(answer.text)
    if status == 200:
        if json.loads(text)["dropped"]:
            log.warn(u"%s: %s" % (url, text[:1000]))
    elif status == 413 and len(made) > 1:
        half = len(made) // 2
        post(client, headers, made[:half])
        post(client, headers, made[half:])
    elif status in (400, 413, 415, 422):
        # The same again would be refused again.
        log.error(u"%d events are lost: %s answers %d %s" % (len(made), url, status, text[:1000]))
    else:
        failed(u"%s answers %d %s" % (url, status, text[:300]))

headers = {"Content-Type": "application/json"}
if key_file:
    with open(key_file) as opened:
        key = opened.read().strip()
    if not key:
        failed(u"%s is empty: the ingest key belongs there" % (key_file,))
if key:
    headers["Authorization"] = "Bearer " + key

kept = system.util.getGlobals()
client = kept.get(name)
if client is None:
    client = kept[name] = system.net.httpClient(timeout=35000)

made, size, unread = [], 0, 0
for event in events:
    try:
        one = read(event)
    except:
        unread += 1
        continue
    if made and (len(made) == 10000 or size + len(one) > 8000000):
        post(client, headers, made)
        made, size = [], 0
    made.append(one)
    size += len(one) + 1
if made:
    post(client, headers, made)
if unread:
    log.error(u"%d events are lost: they have a shape that is not known" % (unread,))
"""

_MADE: Final = {
    MARK,
    _SECOND,
    "log = system.util.getLogger(name)",
    *(line.strip() for line in _CODE.splitlines()),
}
"""Every line that is in all bodies, without its indentation."""
