"""Every text of the SDK that is known, and what it means: class, words and mend.

The texts were collected from the SDK itself against the local server (1.10.0), and from what
users of the service report. `final` are those that the SDK raises as NonRetriableException.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import zerobus
from support.check_cases import mapping

from consumer.check.endpoint import explain
from consumer.config import parse
from consumer.errors import FailureKind
from consumer.sinks import is_of_network, mend
from consumer.sinks.zerobus import classify

RETRIABLE = FailureKind.RETRIABLE
ENDED = FailureKind.ENDED
AUTHENTICATION = FailureKind.AUTHENTICATION
CONTRACT = FailureKind.CONTRACT
POISON = FailureKind.POISON
PERMANENT = FailureKind.PERMANENT
TOO_LARGE = FailureKind.TOO_LARGE

STATUS = {
    "CANCELLED": "The operation was cancelled",
    "UNKNOWN": "Unknown error",
    "DEADLINE_EXCEEDED": "Deadline expired before operation could complete",
    "ALREADY_EXISTS": "Some entity that we attempted to create already exists",
    "RESOURCE_EXHAUSTED": "Some resource has been exhausted",
    "FAILED_PRECONDITION": "The system is not in a state required for the operation's execution",
    "ABORTED": "The operation was aborted",
    "INTERNAL": "Internal error",
    "UNAVAILABLE": "The service is currently unavailable",
    "DATA_LOSS": "Unrecoverable data loss or corruption",
    "NOT_FOUND": "Some requested entity was not found",
    "OUT_OF_RANGE": "Operation was attempted past the valid range",
    "UNIMPLEMENTED": "Operation is not implemented or not supported",
    "UNAUTHENTICATED": "The request does not have valid authentication credentials",
    "PERMISSION_DENIED": "The caller does not have permission to execute the specified operation",
    "INVALID_ARGUMENT": "Client specified an invalid argument",
    "OK": "The operation completed successfully",
}
FINAL = {
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
}
PROXY_PASSWORD = (
    "write them into the proxy's address, for example https_proxy=http://user:password@proxy:3128; "
    "the SDK takes percent signs in it as they are, so the password must do without characters "
    "that an address cannot have"
)
GRANTS = (
    "grant USE CATALOG, USE SCHEMA and, on the table itself, SELECT and MODIFY to the application "
    "id of the service principal: `sparkplug-zerobus ddl` prints the statements"
)
COLUMNS = (
    "compare the table with `sparkplug-zerobus ddl`: names, types and NOT NULL must be the same"
)
FEATURES = (
    "the table must be a managed Delta table without liquid clustering, generated columns and "
    "CHECK constraints, as `sparkplug-zerobus ddl` prints it"
)
LOOK_UP = "look up the text in the error list of Zerobus Ingest"
TRUST = "name the PEM file of the authority that signed it in SSL_CERT_FILE"
SAME_WORKSPACE = (
    "zerobus.endpoint must be of the workspace that zerobus.workspace_url names; " + GRANTS
)
CREATE_TABLE = (
    "create it with `sparkplug-zerobus ddl`, or correct its name in the configuration; "
    "if it is there, " + GRANTS
)
LAYOUT = (
    "zerobus.endpoint may be of another workspace than the table: it and zerobus.workspace_url "
    "must name the same workspace and region; if they do, the table has liquid clustering, or "
    "another layout that the service does not take: " + FEATURES
)
CHECK = "`sparkplug-zerobus check` looks at endpoint, table and grants"
CREDENTIALS = (
    "zerobus.client_id or zerobus.client_secret (with auth: federated, the token in "
    "zerobus.identity_token_file) is wrong, or has expired: "
    "`sparkplug-zerobus check` tries them; if they are right, " + SAME_WORKSPACE
)
NO_TOKEN = "the SDK got no token"
WORKSPACE = "correct zerobus.workspace_url, or try again later"
SCHEME = "correct the scheme and the port of zerobus.endpoint"
NO_GRPC = "what listens on the endpoint does not speak gRPC, or speaks it over TLS only"
SLOW = "the endpoint did not answer in time"
OPEN_FIREWALL = "correct zerobus.endpoint, or open the firewall between"
SCHEMA = (
    "Record schema does not match the target table: field 'seq' is not a column of the table. "
    "Error Code: 8001, Error State: 0."
)
UNKNOWN_FIELD = (
    "Record decoder/encoder error: unrecognized field name 'ip' at line 1 column 285. "
    "Error Code: 4044, Error State: 3."
)
UNPARSABLE = (
    "Record decoder/encoder error: failed to decode Protobuf message: unsupported wire type. "
    "Error Code: 4044, Error State: 3."
)
STORAGE = (
    "Unsupported table kind. Tables created in default storage are not supported. "
    "Error Code: 4024, Error State: 0."
)
INTERNAL_1521 = "Internal error. Error Code: 1521, Error State: 0."
TIMEOUT_6002 = "Stream timeout reached. Error Code: 6002, Error State: 0."
QUOTED = (
    "Record decoder/encoder error: bad value 'Ingest payload too large: 1 bytes, "
    "Error Code: 6002, Error Code: 1521, Client error (429), Invalid durability ACK offset 1, "
    "The operation completed successfully, Failed to send batch, Flush timed out' of a tag"
)


class Known(NamedTuple):
    """A text, and what it means while a stream is opened."""

    words: str
    final: bool
    kind: FailureKind
    text: str = ""
    mend: str = LOOK_UP
    advice: str | None = None
    """What a running consumer says instead of `mend`: nothing where it passes by itself."""


def opening(status, words="Words here.", source=""):
    """The text of a stream that cannot be opened."""
    return f"Failed to create stream: code: '{STATUS[status]}', message: \"{words}\"{source}."


def transport(words, source):
    return opening("UNAVAILABLE", words, f", source: tonic::transport::Error(Transport, {source})")


def tunnel(answer):
    words = f"unsuccessful tunnel (HTTP/1.1 {answer})"
    return transport(words, f'ConnectError(Custom {{ kind: Other, error: "{words}" }})')


def token(text):
    return f"Specified UC token is in invalid format: {text}."


def at_opening(status, *meaning, words="Words here."):
    return Known(opening(status, words), status in FINAL, *meaning)


def of_the_network(words, text, mend):
    return Known(words, False, RETRIABLE, text, mend, "")


AT_OPENING = {
    "4024": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table is of a kind that Zerobus does not write to",
        "the table must be a managed Delta table: create the catalog with a storage location of "
        "its own, not in default storage, and the table in it; if it is, " + GRANTS,
        words=STORAGE,
    ),
    "1521": at_opening("INTERNAL", PERMANENT, "internal error 1521", LAYOUT, words=INTERNAL_1521),
    "1015": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table has generated columns",
        FEATURES,
        words="Error Code: 1015.",
    ),
    "8001": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table's columns are not those of the rows",
        COLUMNS,
        words=SCHEMA,
    ),
    "4044": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table's columns are not those of the rows",
        COLUMNS,
        words=UNKNOWN_FIELD,
    ),
    "a schema without a number": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table's columns are not those of the rows",
        COLUMNS,
        words="Wrong\nschema.",
    ),
    "INVALID_ARGUMENT": at_opening(
        "INVALID_ARGUMENT", CONTRACT, "the table was refused", f"{COLUMNS}; {FEATURES}"
    ),
    "INVALID_ARGUMENT that quotes": at_opening(
        "INVALID_ARGUMENT",
        CONTRACT,
        "the table was refused",
        f"{COLUMNS}; {FEATURES}",
        words=QUOTED,
    ),
    "6002": at_opening("UNAVAILABLE", RETRIABLE, "", LOOK_UP, "", words=TIMEOUT_6002),
    "OK": at_opening("OK", RETRIABLE, "", LOOK_UP, "", words="Stream closed gracefully by server"),
    "NOT_FOUND": at_opening(
        "NOT_FOUND",
        PERMANENT,
        "there is no such table, or the service principal may not see it",
        CREATE_TABLE,
        words=r"Table \"main.plant.none\" cannot be found.",
    ),
    "NOT_FOUND of a schema": at_opening(
        "NOT_FOUND",
        PERMANENT,
        "there is no such table, or the service principal may not see it",
        CREATE_TABLE,
        words="Schema 'main.plant' does not exist.",
    ),
    "PERMISSION_DENIED": at_opening(
        "PERMISSION_DENIED", AUTHENTICATION, "permission denied", GRANTS
    ),
    "PERMISSION_DENIED on a schema": at_opening(
        "PERMISSION_DENIED",
        AUTHENTICATION,
        "permission denied",
        GRANTS,
        words="No USE SCHEMA on schema 'main.plant'.",
    ),
    "UNAUTHENTICATED": at_opening(
        "UNAUTHENTICATED", AUTHENTICATION, "the token was not accepted", SAME_WORKSPACE
    ),
    "UNIMPLEMENTED": at_opening(
        "UNIMPLEMENTED", PERMANENT, "the table or the call is not supported", FEATURES
    ),
    "OUT_OF_RANGE": at_opening("OUT_OF_RANGE", PERMANENT, "", LOOK_UP, CHECK),
    "RESOURCE_EXHAUSTED": at_opening(
        "RESOURCE_EXHAUSTED",
        RETRIABLE,
        "a limit of the service is reached",
        "try again later; compare with the quotas of Zerobus Ingest",
        "",
    ),
    "DEADLINE_EXCEEDED": at_opening("DEADLINE_EXCEEDED", RETRIABLE, SLOW, OPEN_FIREWALL, ""),
    "CANCELLED": at_opening("CANCELLED", RETRIABLE, NO_GRPC, SCHEME, ""),
    **{
        status: at_opening(status, RETRIABLE, "", LOOK_UP, "")
        for status in (
            "UNKNOWN",
            "ALREADY_EXISTS",
            "FAILED_PRECONDITION",
            "ABORTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
        )
    },
    **{
        f"token {status}": Known(
            token(f"Client error ({status}): {{}}"),
            True,
            AUTHENTICATION,
            "the SDK was refused a token",
            CREDENTIALS,
        )
        for status in (400, 401, 403, 404, 418)
    },
    "token 429": Known(
        token("Client error (429): {}"),
        True,
        RETRIABLE,
        "too many tokens were asked for",
        "the workspace limits token requests; this passes, unless other programs ask too often",
    ),
    "token 407": Known(
        token("Client error (407): Proxy Authentication Required"),
        True,
        RETRIABLE,
        "the proxy wants a name and a password",
        PROXY_PASSWORD,
    ),
    "no identity token": Known(
        "Token fetch failed: federated IdP token callback failed: OSError: gone",
        False,
        RETRIABLE,
        "the token of the identity provider could not be read",
        "let zerobus.identity_token_file name a file with a token, which this user may read",
    ),
    "tunnel 407": of_the_network(
        tunnel("407 Pro"), "the proxy wants a name and a password", PROXY_PASSWORD
    ),
    "tunnel 403": of_the_network(
        tunnel("403 For"),
        "the proxy does not let the connection through",
        "have the host and port of zerobus.endpoint allowed there, or put the host into no_proxy "
        "if it can be reached directly",
    ),
    "token redirected": Known(
        token("Client error (302): {}"), True, PERMANENT, NO_TOKEN, WORKSPACE
    ),
    "no address": Known(
        token("Request failed: builder error"), True, PERMANENT, NO_TOKEN, WORKSPACE
    ),
    "token 503": of_the_network(
        "Token fetch failed: Unity catalog server error (503): {}", NO_TOKEN, WORKSPACE
    ),
    "no workspace": of_the_network(
        "Token fetch failed: Network error: error sending request for url "
        "(http://127.0.0.1:9/oidc/v1/token)",
        NO_TOKEN,
        WORKSPACE,
    ),
    "no table name": Known(
        "Specified UC table name is invalid: Table name must have exactly 3 parts "
        "(catalog.schema.table), found 2 parts.",
        True,
        PERMANENT,
        advice=CHECK,
    ),
    "nobody listens": of_the_network(
        transport(
            "tcp connect error",
            'ConnectError(ConnectError("tcp connect error", 127.0.0.1:9, Os { code: 111, kind: '
            'ConnectionRefused, message: "Connection refused" }))',
        ),
        "nobody listens on the endpoint",
        "correct zerobus.endpoint, or start `sparkplug-zerobus local-zerobus`",
    ),
    "unknown name": of_the_network(
        transport(
            "dns error",
            'ConnectError(ConnectError("dns error", Custom { kind: Uncategorized, error: "failed '
            'to lookup address information: Name or service not known" }))',
        ),
        "the name of the endpoint is not known",
        "correct zerobus.endpoint",
    ),
    "silence": of_the_network(
        opening("DEADLINE_EXCEEDED", "Stream creation timed out"), SLOW, OPEN_FIREWALL
    ),
    "HTTP/1": of_the_network(
        opening(
            "UNKNOWN",
            "h2 protocol error: http2 error",
            ", source: tonic::transport::Error(Transport, hyper::Error(Http2, Error { kind: "
            'GoAway(b"", FRAME_SIZE_ERROR, Library) }))',
        ),
        NO_GRPC,
        SCHEME,
    ),
    "no TLS": of_the_network(
        transport(
            "received corrupt message of type InvalidContentType",
            "ConnectError(Custom { kind: InvalidData, error: InvalidMessage(InvalidContentType) })",
        ),
        "the endpoint does not speak TLS",
        "write http:// into zerobus.endpoint for a local server, or correct its port",
    ),
    "no TLS for IPv6": of_the_network("Failed to establish TLS connection.", "", LOOK_UP),
    "untrusted": of_the_network(
        transport(
            "invalid peer certificate: UnknownIssuer",
            "ConnectError(Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) })",
        ),
        "the certificate of the endpoint is not trusted",
        TRUST,
    ),
    "another host": of_the_network(
        transport(
            r"invalid peer certificate: certificate not valid for name \"127.0.0.1\"; certificate "
            r"is only valid for DnsName(\"elsewhere.example\")",
            "ConnectError(Custom { kind: InvalidData, error: InvalidCertificate("
            "NotValidForNameContext { expected: IpAddress(V4(Ipv4Addr([127, 0, 0, 1]))), "
            'presented: ["DnsName(\\"elsewhere.example\\")"] }) })',
        ),
        "the certificate of the endpoint is for another host",
        "write the name that the certificate has into zerobus.endpoint",
    ),
    "expired": of_the_network(
        transport(
            "invalid peer certificate: Expired",
            "ConnectError(Custom { kind: InvalidData, error: InvalidCertificate(Expired) })",
        ),
        "the certificate of the endpoint is not valid now",
        "renew it, or set this machine's clock",
    ),
}


def error(words, *, final):
    """As the SDK raises it."""
    return (zerobus.NonRetriableException if final else zerobus.ZerobusException)(words)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    return parse(mapping(tmp_path_factory.mktemp("meanings"))).zerobus


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", AT_OPENING)
def test_a_text_at_the_opening_of_a_stream_has_its_meaning(configuration, name):
    known = AT_OPENING[name]
    kind = classify(error(known.words, final=known.final), opening=True)
    assert kind is known.kind
    advice = known.mend if known.advice is None else known.advice
    assert mend(kind, known.words) == advice
    explained = explain(known.words, configuration)
    before = f"{configuration.table} on {configuration.endpoint}: "
    assert explained.text.startswith(f"{before}{known.text} (" if known.text else before)
    assert explained.mend == known.mend


class Later(NamedTuple):
    """A text, and what it means in mid-stream."""

    words: str
    final: bool
    kind: FailureKind
    advice: str = ""


def closed(status, words="Words here."):
    """The text of a stream that has ended."""
    return f"Stream is closed: code: '{STATUS[status]}', message: \"{words}\""


def refused(words):
    return Later(f"Invalid argument: {words}.", True, POISON)


IN_MID_STREAM = {
    **{
        status: Later(closed(status), False, RETRIABLE)
        for status in STATUS
        if status not in FINAL and status != "OK"
    },
    "OK": Later(closed("OK", "Stream closed by server without errors."), False, ENDED),
    "6002": Later(closed("UNAVAILABLE", TIMEOUT_6002), False, ENDED),
    "noticed by the sender": Later(closed("INTERNAL", "Failed to send batch"), False, ENDED),
    "not noticed yet": Later(closed("DEADLINE_EXCEEDED", "Flush timed out"), False, ENDED),
    "missing acknowledgement": Later(
        closed("INTERNAL", "Missing ack offset in server response"), False, RETRIABLE
    ),
    "acknowledged beyond": refused("Invalid durability ACK offset 1000; expected -1..=0")._replace(
        kind=RETRIABLE
    ),
    "too large": refused(
        "Ingest payload too large: 10500000 bytes exceeds the configured limit of 10420224 bytes"
    )._replace(kind=TOO_LARGE),
    "too large, without a prefix": Later("Ingest payload too large: 1 bytes.", True, TOO_LARGE),
    "INVALID_ARGUMENT": refused("Words here."),
    "INVALID_ARGUMENT, told as a status": Later(closed("INVALID_ARGUMENT"), True, POISON),
    "4044": refused(UNPARSABLE),
    "NOT_FOUND": Later(closed("NOT_FOUND"), True, PERMANENT, CREATE_TABLE),
    "OUT_OF_RANGE": Later(closed("OUT_OF_RANGE"), True, PERMANENT, CHECK),
    "UNIMPLEMENTED": Later(closed("UNIMPLEMENTED"), True, PERMANENT, FEATURES),
    "UNAUTHENTICATED": Later(closed("UNAUTHENTICATED"), True, AUTHENTICATION, SAME_WORKSPACE),
    "UNAUTHENTICATED without words": Later(
        f"Stream is closed: code: '{STATUS['UNAUTHENTICATED']}'",
        True,
        AUTHENTICATION,
        SAME_WORKSPACE,
    ),
    "PERMISSION_DENIED": Later(closed("PERMISSION_DENIED"), True, AUTHENTICATION, GRANTS),
    "1521": Later(closed("INTERNAL", INTERNAL_1521), False, PERMANENT, LAYOUT),
    "closed": Later(closed("INTERNAL", "Stream closed"), False, RETRIABLE),
    # What somebody published is quoted by the service.
    "quoted": refused(QUOTED),
    "quoted, told as a status": Later(closed("INVALID_ARGUMENT", QUOTED), True, POISON),
    **{
        f"{value} in {status}": Later(
            closed(status, f"Bad value '{value}'."), status in FINAL, kind, advice
        )
        for status, value, kind, advice in (
            ("INTERNAL", "Client error (429)", RETRIABLE, ""),
            ("INTERNAL", "Client error (401)", RETRIABLE, ""),
            ("DATA_LOSS", "does not have permission to execute", RETRIABLE, ""),
            ("ABORTED", "default storage, schema, dns error, not found", RETRIABLE, ""),
            ("NOT_FOUND", "Error Code: 6002", PERMANENT, CREATE_TABLE),
            ("OUT_OF_RANGE", "dns error, Error Code: 4024", PERMANENT, CHECK),
        )
    },
}


@pytest.mark.parametrize("name", IN_MID_STREAM)
def test_a_text_in_mid_stream_has_its_meaning(name):
    known = IN_MID_STREAM[name]
    kind = classify(error(known.words, final=known.final), opening=False)
    assert kind is known.kind
    assert mend(kind, known.words) == known.advice


MISMATCH = "100 records one after the other are refused, so it is the table that does not fit: "


@pytest.mark.parametrize("quoted", [QUOTED, STORAGE, "'dns error'", "column 'not found'"])
def test_what_refused_records_quote_does_not_decide_what_is_advised(quoted):
    words = f"{MISMATCH}Invalid argument: {quoted} (the service names no column)"
    assert mend(CONTRACT, words) == COLUMNS


@pytest.mark.parametrize("name", [each for each in AT_OPENING if "quotes" not in each])
def test_whether_a_text_is_about_the_way_is_told_in_one_place(name):
    of_the_way = {
        *("token 503", "no workspace", "nobody listens", "unknown name", "silence", "HTTP/1"),
        *("no TLS", "no TLS for IPv6", "untrusted", "another host", "expired"),
        *("tunnel 407", "tunnel 403", "no identity token"),
    }
    assert is_of_network(AT_OPENING[name].words) == (name in of_the_way)


@pytest.mark.parametrize("raised", [TypeError("no bytes"), ValueError("no descriptor")])
@pytest.mark.parametrize("opening", [True, False])
def test_what_the_sdk_cannot_take_at_all_stays(raised, opening):
    assert classify(raised, opening=opening) is PERMANENT
