"""What the Databricks SDK's errors mean, what may help, and in which columns table and rows differ.

The SDK's errors are text. What they mean is in the Databricks documentation (Zerobus Ingest error
handling) or has been seen with databricks-zerobus-ingest-sdk 1.10; where the service names no
column, what the refused records have in common is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from consumer.errors import FailureKind
from consumer.network import TRUST_ZEROBUS
from consumer.rows import message_class

if TYPE_CHECKING:
    from collections.abc import Sequence

UNDECIDED: Final = "Flush timed out"
"""What the SDK says of a dead stream as long as one half of it does not know why."""

_QUOTED: Final = re.compile(r"[\"'`]([A-Za-z_][A-Za-z0-9_.]*)[\"'`]")
_MOST_LOOKED_AT: Final = 100

_GRANTS: Final = (
    "grant USE CATALOG, USE SCHEMA and, on the table itself, SELECT and MODIFY to the application "
    "id of the service principal: `sparkplug-zerobus ddl` prints the statements"
)
_COLUMNS: Final = (
    "compare the table with `sparkplug-zerobus ddl`: names, types and NOT NULL must be the same"
)
_FEATURES: Final = (
    "the table must be a managed Delta table without liquid clustering, generated columns and "
    "CHECK constraints, as `sparkplug-zerobus ddl` prints it"
)
_SAME_WORKSPACE: Final = (
    "zerobus.endpoint must be of the workspace that zerobus.workspace_url names; " + _GRANTS
)
_PROXY_WANTS: Final = (
    "write them into the proxy's address, for example https_proxy=http://user:password@proxy:3128; "
    "the SDK takes percent signs in it as they are, so the password must do without characters "
    "that an address cannot have"
)


class Meaning(NamedTuple):
    """What some of the SDK's texts mean: a row of `MEANINGS`, or the sum of two of them.

    Attributes:
        pattern: is searched in the text.
        kind: the class of the failure; None where the row does not tell it.
        text: what is wrong in words of ours, as a piece of a sentence; empty where the row does not
            tell it.
        mend: what may help; empty when it passes by itself, or nobody knows.
        opening: True for a row that counts only while a stream is opened, False for one that
            counts only later, None for one that always counts.
    """

    pattern: re.Pattern[str]
    kind: FailureKind | None = None
    text: str = ""
    mend: str = ""
    opening: bool | None = None


def _row(
    pattern: str,
    kind: FailureKind | None = None,
    text: str = "",
    mend: str = "",
    *,
    opening: bool | None = None,
) -> Meaning:
    return Meaning(re.compile(pattern, re.DOTALL), kind, text, mend, opening)


# The SDK's own words stand first in its texts, before any quotation mark but those around the
# status of gRPC. What the service says follows.
_OWN: Final = r"^[^'\"]*"
_STATUS: Final = r"^[^']*code: '"
_REFUSED: Final = rf"(?:^Invalid argument|{_STATUS}Client specified an invalid argument')"

MEANINGS: Final = (
    # Once a stream is open, the service may quote what somebody published, and nobody is to steer
    # a class with the value of a tag: the SDK's own words and the status of gRPC come first, and a
    # refused argument is told before the service's words are looked at.
    _row(
        r"^(Invalid argument: )?Ingest payload too large: ",
        FailureKind.TOO_LARGE,
        "a call is larger than the SDK takes",
    ),
    _row(
        r"^(Invalid argument: )?Invalid durability ACK offset ",
        FailureKind.RETRIABLE,
        "the service acknowledged what was not sent",
    ),
    # While it is opened, nothing was published into it yet: numbers are more exact than the
    # status. They do not tell the class, the status does.
    _row(
        r"Error Code: 4024\b|default storage",
        text="the table is of a kind that Zerobus does not write to",
        mend="the table must be a managed Delta table: create the catalog with a storage location "
        "of its own, not in default storage, and the table in it; if it is, " + _GRANTS,
        opening=True,
    ),
    _row(
        r"Error Code: 1015\b",
        text="the table has generated columns",
        mend=_FEATURES,
        opening=True,
    ),
    _row(
        rf"Error Code: (?:8001|4044)\b|{_REFUSED}.*(?:[Ss]chema|unrecognized field|not a column)",
        text="the table's columns are not those of the rows",
        mend=_COLUMNS,
        opening=True,
    ),
    _row(
        _REFUSED,
        FailureKind.CONTRACT,
        "the table was refused",
        f"{_COLUMNS}; {_FEATURES}",
        opening=True,
    ),
    _row(_REFUSED, FailureKind.POISON, "a record was refused", opening=False),
    # An end in order is followed by the next stream at once. A stream that never was has not
    # ended in order: without a pause there would be no end.
    _row(
        rf"{_STATUS}The operation completed successfully'",
        FailureKind.ENDED,
        "the service ended the stream",
        opening=False,
    ),
    # Noticed first by the half that was sending, which says no reason: a lasting one shows when
    # the next stream is opened.
    _row(
        rf'{_STATUS}Internal error\', message: "Failed to send batch"',
        FailureKind.ENDED,
        "the stream has ended",
        opening=False,
    ),
    # The same, when the other half has not noticed yet.
    _row(
        rf"{_STATUS}[^']*', message: \"{UNDECIDED}\"",
        FailureKind.ENDED,
        "the stream has ended",
        opening=False,
    ),
    # OAuth. The SDK calls every 4xx final, 429 included.
    _row(
        rf"{_OWN}Client error \(429\)",
        FailureKind.RETRIABLE,
        "too many tokens were asked for",
        "the workspace limits token requests; this passes, unless other programs ask too often",
    ),
    _row(
        rf"{_OWN}Client error \(407\)",
        FailureKind.RETRIABLE,
        "the proxy wants a name and a password",
        _PROXY_WANTS,
    ),
    _row(
        rf"{_OWN}federated IdP token callback",
        FailureKind.RETRIABLE,
        "the token of the identity provider could not be read",
        "let zerobus.identity_token_file name a file with a token, which this user may read",
    ),
    _row(
        rf"{_OWN}Client error \(4\d\d\)",
        FailureKind.AUTHENTICATION,
        "the SDK was refused a token",
        "zerobus.client_id or zerobus.client_secret (with auth: federated, the token in "
        "zerobus.identity_token_file) is wrong, or has expired: "
        "`sparkplug-zerobus check` tries them; if they are right, " + _SAME_WORKSPACE,
    ),
    _row(
        rf"{_OWN}(?:UC token|Token fetch failed)",
        text="the SDK got no token",
        mend="correct zerobus.workspace_url, or try again later",
        opening=True,
    ),
    _row(
        rf"{_STATUS}[^']*does not have valid authentication credentials",
        FailureKind.AUTHENTICATION,
        "the token was not accepted",
        _SAME_WORKSPACE,
    ),
    _row(
        rf"{_STATUS}[^']*does not have permission to execute",
        FailureKind.AUTHENTICATION,
        "permission denied",
        _GRANTS,
    ),
    _row(
        rf"{_STATUS}[^']*requested entity was not found",
        FailureKind.PERMANENT,
        "there is no such table, or the service principal may not see it",
        "create it with `sparkplug-zerobus ddl`, or correct its name in the configuration; "
        "if it is there, " + _GRANTS,
    ),
    _row(
        rf"{_STATUS}[^']*is not implemented or not supported",
        FailureKind.PERMANENT,
        "the table or the call is not supported",
        _FEATURES,
    ),
    _row(
        rf"{_STATUS}[^']*resource has been exhausted",
        text="a limit of the service is reached",
        mend="try again later; compare with the quotas of Zerobus Ingest",
    ),
    # Said to be internal, and retried by the SDK, but caused by the table's layout or an endpoint
    # of another workspace: it stays.
    _row(
        r"Error Code: 1521\b",
        FailureKind.PERMANENT,
        "internal error 1521",
        "zerobus.endpoint may be of another workspace than the table: it and "
        "zerobus.workspace_url must name the same workspace and region; if they do, the table has "
        "liquid clustering, or another layout that the service does not take: " + _FEATURES,
    ),
    # With UNAVAILABLE, about every quarter of an hour: a stream has lived long enough.
    _row(
        r"Error Code: 6002\b",
        FailureKind.ENDED,
        "the service ended the stream",
        opening=False,
    ),
    # The network, while a stream is opened. Whether it may pass, the type of the exception tells.
    _row(
        r"dns error",
        text="the name of the endpoint is not known",
        mend="correct zerobus.endpoint",
        opening=True,
    ),
    _row(
        r"UnknownIssuer|UnknownCA|CaUsedAsEndEntity|BadSignature",
        text="the certificate of the endpoint is not trusted",
        mend=TRUST_ZEROBUS,
        opening=True,
    ),
    _row(
        r"NotValidForName",
        text="the certificate of the endpoint is for another host",
        mend="write the name that the certificate has into zerobus.endpoint",
        opening=True,
    ),
    _row(
        r"certificate: Expired|NotValidYet",
        text="the certificate of the endpoint is not valid now",
        mend="renew it, or set this machine's clock",
        opening=True,
    ),
    _row(
        r"InvalidContentType",
        text="the endpoint does not speak TLS",
        mend="write http:// into zerobus.endpoint for a local server, or correct its port",
        opening=True,
    ),
    _row(
        r"unsuccessful tunnel \(HTTP/1\.\d 407",
        text="the proxy wants a name and a password",
        mend=_PROXY_WANTS,
        opening=True,
    ),
    _row(
        r"unsuccessful tunnel",
        text="the proxy does not let the connection through",
        mend="have the host and port of zerobus.endpoint allowed there, or put the host into "
        "no_proxy if it can be reached directly",
        opening=True,
    ),
    _row(
        r"ConnectionRefused|tcp connect error",
        text="nobody listens on the endpoint",
        mend="correct zerobus.endpoint, or start `sparkplug-zerobus local-zerobus`",
        opening=True,
    ),
    _row(
        r"timed out|Timeout|Deadline expired",
        text="the endpoint did not answer in time",
        mend="correct zerobus.endpoint, or open the firewall between",
        opening=True,
    ),
    _row(
        r"http2 error|HTTP/2 was not|transport error|connection closed|operation was cancel",
        text="what listens on the endpoint does not speak gRPC, or speaks it over TLS only",
        mend="correct the scheme and the port of zerobus.endpoint",
        opening=True,
    ),
)
"""The meanings of texts that are known, the most exact first.

The class is that of the first that fits and has one, the words are those of the first that fits and
has some.
"""

_UNKNOWN: Final = Meaning(re.compile(""))

_NETWORK: Final = re.compile(
    r"(?i)network error|transport(?:::| )error|error sending request|(?:tcp|tls) connect"
    r"|connection (?:closed|refused|reset)|timed out|token fetch failed"
)
# How texts begin that are told while a stream is opened.
_AT_OPENING: Final = re.compile(r"Failed to |Specified |Token fetch failed")
_BY_KIND: Final = {
    FailureKind.CONTRACT: _COLUMNS,
    FailureKind.PERMANENT: "`sparkplug-zerobus check` looks at endpoint, table and grants",
}


def meaning_of(words: str, *, opening: bool) -> Meaning:
    """What a text of the SDK means.

    The first row of `MEANINGS` that fits tells it. What that leaves open, the class or the words
    and their mend, the next one tells that fits.

    Args:
        words: the whole text, as the SDK gave it.
        opening: it was given while a stream was opened. Later the service's words count for
            less, for they may quote published values.

    Returns:
        The meaning, of which the class, or the words, or all is open where nothing is known.
    """
    fitting = [
        row
        for row in MEANINGS
        if row.opening in (None, opening) and row.pattern.search(words) is not None
    ]
    told = next((row for row in fitting if row.text), _UNKNOWN)
    kind = next((row.kind for row in fitting if row.kind is not None), None)
    return told._replace(kind=kind)


def is_of_network(words: str) -> bool:
    """Whether a text of the SDK is about the way to a service or to a token."""
    return _NETWORK.search(words) is not None


def mend(kind: FailureKind, text: str) -> str:
    """What may help a running consumer; empty when it passes by itself, or nobody knows.

    Whatever passes by itself as a rule is told by `check` alone, with the mends of `meaning_of`.

    Args:
        kind: what the failure is.
        text: what was said of it: by the SDK, or in words of ours that quote it.
    """
    found = meaning_of(text, opening=_AT_OPENING.match(text) is not None)
    # Words that fit another class than this one were quoted.
    if found.kind is kind or (found.kind is None and kind is FailureKind.PERMANENT):
        return found.mend or _BY_KIND.get(kind, "")
    return _BY_KIND.get(kind, "")


def difference(words: str, descriptor: bytes, refused: Sequence[bytes] = ()) -> str:
    """In which columns table and rows differ, as far as that can be known.

    Args:
        words: why the service refused.
        descriptor: serialized FileDescriptorProto that the rows were encoded for.
        refused: encoded rows that it refused.
    """
    message = descriptor_pb2.FileDescriptorProto.FromString(descriptor).message_type[0]
    sent = {field.name: field for field in message.field}
    named = list(dict.fromkeys(name.rpartition(".")[2] for name in _QUOTED.findall(words)))
    ours = [name for name in named if name in sent]
    if ours:
        return f"it is about {_columns(ours)}"
    # A column of the table that we do not send is named, too; a table has three parts.
    if others := [name for name in named if f".{name}" not in words]:
        return f"it is about {_columns(others)}, which the consumer does not send"
    optional = [name for name, each in sent.items() if each.label != each.LABEL_REQUIRED]
    common = [name for name in _in_all(descriptor, refused) if name in optional]
    if common:
        return (
            f"the service names no column; all of the refused records carry {_columns(common)}, "
            "beside those that every record has"
        )
    return "the service names no column"


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _in_all(descriptor: bytes, records: Sequence[bytes]) -> list[str]:
    """Fields that all of the records carry that can be read at all."""
    message = message_class(descriptor)
    common: list[str] | None = None
    for record in records[:_MOST_LOOKED_AT]:
        try:
            carried = {field.name for field, _ in message.FromString(record).ListFields()}
        except DecodeError:
            continue
        if common is None:
            common = [field.name for field in message.DESCRIPTOR.fields if field.name in carried]
        common = [name for name in common if name in carried]
    return common or []
