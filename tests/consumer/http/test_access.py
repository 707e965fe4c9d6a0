"""Who may ask what: keys and their roles, loopback, cookies, what browsers may be made to do."""

import logging
import os
import socket
import time

import pytest
from support.certificates import Authority
from support.http_side import INGEST, KEYS, OPERATOR, READER, Client, http_side, serving
from support.services import wait_until
from support.unconnected import configuration, unconnected

from consumer.errors import ConfigurationError
from consumer.http import HttpServer

OPEN = ("/healthz", "/readyz", "/version", "/api/session")
READ = ("/metrics", "/status", "/openapi.json")


@pytest.fixture
def keyed(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        yield client


@pytest.fixture
def unkeyed(tmp_path):
    with http_side(tmp_path) as client:
        yield client


def error_of(answer):
    return answer.status_code, answer.json()["error"]


# ---------------------------------------------------------------------- roles


@pytest.mark.parametrize("path", OPEN)
def test_some_paths_need_no_key(keyed, path):
    assert keyed.get(path).status_code in (200, 503)
    assert error_of(keyed.get("/status")) == (401, "unauthorized")


@pytest.mark.parametrize("path", READ)
def test_a_reader_may_read(keyed, path):
    assert error_of(keyed.get(path)) == (401, "unauthorized")
    assert keyed.get(path).headers["WWW-Authenticate"] == "Bearer"
    assert keyed.with_key(READER).get(path).status_code == 200
    assert keyed.with_key(OPERATOR).get(path).status_code == 200
    assert error_of(keyed.with_key(INGEST).get(path)) == (403, "forbidden")


def test_metrics_may_be_open_to_anybody(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS, "metrics": "open"}) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/status").status_code == 401


def test_a_wrong_key_is_no_key(keyed):
    for key in ("wrong", READER + "x", READER[:-1], READER.upper()):
        assert error_of(keyed.with_key(key).get("/status")) == (401, "unauthorized")
    basic = keyed.get("/status", headers={"Authorization": f"Basic {READER}"})
    assert error_of(basic) == (401, "unauthorized")


def test_who_guesses_is_told_to_wait_and_right_keys_go_on(keyed):
    wrong = keyed.with_key("not-a-key-at-all")
    codes = [wrong.get("/status").status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    refused = wrong.get("/status")
    assert error_of(refused) == (429, "too_many")
    assert refused.headers["Retry-After"] == "60"
    assert keyed.with_key(READER).get("/status").status_code == 200


def test_a_key_is_taken_from_its_addresses_only(tmp_path):
    far = {**KEYS[0], "addresses": ["10.7.0.0/16"]}
    near = {**KEYS[1], "addresses": ["10.7.0.0/16", "127.0.0.0/8"]}
    with http_side(tmp_path, http={"keys": [far, near]}) as client:
        assert error_of(client.with_key(READER).get("/status")) == (403, "forbidden")
        forwarded = client.with_key(READER).get("/status", headers={"X-Forwarded-For": "10.7.0.9"})
        assert forwarded.status_code == 403
        assert client.with_key(OPERATOR).get("/status").status_code == 200


def test_requests_are_counted_by_the_names_of_keys(keyed):
    keyed.with_key(READER).get("/status")
    keyed.get("/status")
    text = keyed.with_key(OPERATOR).get("/metrics").text
    assert 'sparkplug_zerobus_http_requests_total{key="grafana"} 1.0' in text
    assert 'sparkplug_zerobus_http_requests_total{key="gateway"} 0.0' in text
    assert 'sparkplug_zerobus_http_requests_refused_total{reason="unauthorized"} 1.0' in text
    assert READER not in text


def test_keys_are_nowhere_in_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        client.with_key(READER).get("/status")
        client.with_key("a-wrong-key-of-somebody").get("/status")
        client.post("/api/session", {"key": OPERATOR})
        client.post("/api/session", {"key": {"of": OPERATOR}})
    texts = [record.getMessage() for record in caplog.records if record.name[:4] != "http"]
    for secret in (READER, OPERATOR, "a-wrong-key-of-somebody"):
        assert not any(secret in text for text in texts)


# ---------------------------------------------------------------------- files


def test_a_key_is_read_again_when_its_file_changes(tmp_path):
    file = tmp_path / "key"
    file.write_text(READER + "\n")
    key = {"name": "grafana", "role": "reader", "key_file": str(file)}
    with http_side(tmp_path, http={"keys": [key]}) as client:
        old, new = client.with_key(READER), client.with_key("another-key-0123456789")
        browser = Client(client.server)
        assert browser.post("/api/session", {"key": READER}).status_code == 200
        assert browser.get("/status").status_code == 200
        file.with_suffix(".new").write_text("another-key-0123456789\n")
        file.with_suffix(".new").replace(file)
        wait_until(lambda: new.get("/status").status_code == 200)
        assert old.get("/status").status_code in (401, 429)
        assert browser.get("/status").status_code == 401


@pytest.mark.parametrize("content", [None, "another-key-0123456789"])
def test_a_key_is_read_again_that_changed_between_its_reading_and_the_start(tmp_path, content):
    file = tmp_path / "key"
    file.write_text(READER)
    key = {"name": "grafana", "role": "reader", "key_file": str(file)}
    with unconnected(tmp_path, http={"keys": [key]}) as consumer:
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        with serving(consumer) as server:
            old = Client(server, READER)
            wait_until(lambda: old.get("/status").status_code == 401)
            if content is not None:
                assert Client(server, content).get("/status").status_code == 200


def test_a_pipe_in_the_place_of_a_file_puts_its_key_out_of_force_at_once(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text(READER)
    key = {"name": "grafana", "role": "reader", "key_file": str(file)}
    with unconnected(tmp_path, http={"keys": [key]}) as consumer:
        keys = HttpServer(consumer, ("127.0.0.1", 0)).access.keys
        keys.look()
        assert keys.find(READER) is not None
        file.unlink()
        os.mkfifo(file)
        begun = time.monotonic()
        keys.look()
        assert time.monotonic() - begun < 0.5
        assert keys.find(READER) is None
        assert "is no regular file" in caplog.text


@pytest.mark.parametrize("content", [None, "", "short\n", "with blanks in its middle\n"])
def test_a_key_without_a_fit_file_is_out_of_force(tmp_path, content, caplog):
    file = tmp_path / "key"
    file.write_text(READER)
    key = {"name": "grafana", "role": "reader", "key_file": str(file)}
    with http_side(tmp_path, http={"keys": [key]}) as client:
        assert client.with_key(READER).get("/status").status_code == 200
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        wait_until(lambda: client.with_key(READER).get("/status").status_code != 200)
        for text in ("Bearer", f"Bearer {(content or 'x').strip()}"):
            headers = {"Authorization": text}
            assert client.get("/status", headers=headers).status_code in (401, 429)
        assert "the key grafana is out of force" in caplog.text


# ---------------------------------------------------------------------- loopback


def test_without_keys_all_is_open_on_loopback(unkeyed):
    assert all(unkeyed.get(path).status_code == 200 for path in READ)
    told = unkeyed.get("/api/session").json()
    assert (told["needed"], told["name"], told["role"]) == (False, "local", "operator")


@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-anything", "Via"]
)
def test_what_came_through_a_proxy_is_not_loopback(unkeyed, name):
    refused = unkeyed.get("/status", headers={name: "for=127.0.0.1"})
    assert error_of(refused) == (401, "unauthorized")
    assert "proxy" in refused.json()["detail"]
    assert unkeyed.get("/healthz", headers={name: "for=127.0.0.1"}).status_code == 503


def test_bound_elsewhere_nothing_is_open_without_keys(tmp_path):
    with unconnected(tmp_path) as consumer, serving(consumer, host="0.0.0.0") as server:
        assert error_of(Client(server).get("/status")) == (401, "unauthorized")


@pytest.mark.parametrize("listen", ["0.0.0.0:8099", "[::]:8099", "plant.example:8099"])
def test_bound_elsewhere_a_consumer_without_keys_does_not_start(tmp_path, listen):
    with pytest.raises(ConfigurationError) as caught:
        configuration(tmp_path, http={"listen": listen})
    text = str(caught.value)
    assert text.startswith("configuration: http.keys: missing, and others than this machine")
    assert "\n" not in text


def test_the_token_of_earlier_releases_is_one_operators_key(tmp_path):
    old = configuration(tmp_path, http={"listen": "0.0.0.0:8099", "token": OPERATOR})
    assert any("http.token: is taken as one key" in each for each in old.warnings)
    with http_side(tmp_path, http={"token": OPERATOR}) as client:
        assert client.get("/status").status_code == 401
        told = client.with_key(OPERATOR).get("/api/session").json()
        assert (told["name"], told["role"]) == ("token", "operator")


# ---------------------------------------------------------------------- browsers


def test_a_browser_signs_in_once_and_has_a_cookie(keyed):
    answer = keyed.post("/api/session", {"key": READER})
    assert answer.json()["name"] == "grafana"
    cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    assert READER not in cookie
    assert keyed.get("/status").status_code == 200
    assert keyed.get("/api/session").json()["until_ms"] > time.time() * 1000
    assert keyed.http.delete("/api/session").status_code == 204
    assert keyed.get("/status").status_code == 401


def test_who_signs_in_again_and_again_signs_nobody_else_out(keyed):
    def session():
        return keyed.with_key("")

    operator, first = session(), session()
    assert operator.post("/api/session", {"key": OPERATOR}).status_code == 200
    assert first.post("/api/session", {"key": READER}).status_code == 200
    for _ in range(1_000):
        keyed.server.access.sign_in(keyed.server.access.keys.find(READER))
    assert operator.get("/api/nodes").status_code == 200
    assert first.get("/api/nodes").status_code == 401  # of its own key a newer one went before
    for each in (operator, first):
        each.http.close()


def test_signing_in_takes_a_key_that_may_see_something(keyed):
    assert error_of(keyed.post("/api/session", {"key": "wrong"})) == (401, "unauthorized")
    assert error_of(keyed.post("/api/session", {"key": INGEST})) == (403, "forbidden")
    assert error_of(keyed.post("/api/session", {})) == (400, "bad_request")
    assert error_of(keyed.post("/api/session", {"key": READER, "x": 1})) == (400, "bad_request")


def test_two_consumers_on_one_machine_have_cookies_of_their_own(keyed):
    name = keyed.post("/api/session", {"key": READER}).headers["Set-Cookie"].partition("=")[0]
    assert name.endswith(f"-{keyed.server.port}")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8099", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_is_not_this_servers_is_refused(unkeyed, host):
    refused = unkeyed.get("/status", headers={"Host": host})
    assert error_of(refused) == (421, "wrong_host")
    # A page under such a name may set any header.
    key = {"Host": host, "Authorization": "Bearer x"}
    assert unkeyed.get("/status", headers=key).status_code == 421


def test_names_of_this_server_are_not_refused(tmp_path):
    with http_side(tmp_path, http={"hosts": ["Consumer.plant.example"]}) as client:
        names = ("localhost", "127.0.0.1:1", "[::1]:80", "consumer.plant.example", "10.1.2.3")
        for host in (*names, socket.gethostname()):
            assert client.get("/status", headers={"Host": host}).status_code == 200, host


def test_a_program_with_a_key_may_call_the_server_as_it_likes(keyed):
    scraped = keyed.with_key(READER).get("/metrics", headers={"Host": "consumer:8099"})
    assert scraped.status_code == 200
    keyed.post("/api/session", {"key": READER})
    assert keyed.get("/metrics", headers={"Host": "consumer:8099"}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing(unkeyed, headers):
    refused = unkeyed.post("/api/session", {"key": READER}, headers=headers)
    assert error_of(refused) == (403, "forbidden")
    own = {"Origin": f"http://127.0.0.1:{unkeyed.server.port}", "Sec-Fetch-Site": "same-origin"}
    assert unkeyed.post("/api/session", {"key": READER}, headers=own).status_code == 200


# ---------------------------------------------------------------------- all answers


@pytest.mark.parametrize("path", ["/healthz", "/status", "/metrics", "/nothing", "/api/session"])
def test_answers_may_not_be_framed_sniffed_or_stored(keyed, path):
    headers = keyed.get(path).headers
    assert headers["Content-Security-Policy"].startswith(
        "default-src 'self'; frame-ancestors 'none'"
    )
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "server" not in headers


def test_errors_have_one_form(keyed):
    assert error_of(keyed.get("/nothing")) == (404, "not_found")
    assert error_of(keyed.post("/status")) == (405, "method_not_allowed")
    json = {"Content-Type": "application/json"}
    bad = keyed.http.post("/api/session", content=b"{", headers=json)
    assert error_of(bad) == (400, "bad_request")


def test_a_large_body_is_not_read(keyed):
    large = keyed.post("/api/session", {"key": "x" * 70_000})
    assert error_of(large) == (413, "too_large")
    json = {"Content-Type": "application/json"}
    chunks = keyed.http.post("/api/session", content=iter([b"x" * 9_000] * 9), headers=json)
    assert error_of(chunks) == (413, "too_large")


def test_chunks_are_counted_whatever_length_is_announced_with_them(keyed):
    told = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    chunks = iter([b"x" * 9_000] * 9)
    assert error_of(keyed.http.post("/api/session", content=chunks, headers=told)) == (
        413,
        "too_large",
    )


# ---------------------------------------------------------------------- TLS


def test_it_is_served_over_tls(tmp_path):
    issued = Authority(tmp_path).issue("server")
    tls = {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}
    http = {"keys": KEYS, "tls": tls}
    with unconnected(tmp_path, http=http) as consumer, serving(consumer) as server:
        client = Client(server, scheme="https")
        assert client.get("/version").status_code == 200
        assert "Secure" in client.post("/api/session", {"key": READER}).headers["Set-Cookie"]


def test_files_of_tls_that_are_none_are_an_error_in_one_line(tmp_path):
    (tmp_path / "x.pem").write_text("no certificate")
    for name in ("x.pem", "missing.pem"):
        tls = {"cert_file": str(tmp_path / name), "key_file": str(tmp_path / name)}
        with (
            unconnected(tmp_path, http={"tls": tls}) as consumer,
            pytest.raises(
                ConfigurationError, match=r"^http\.tls: cert_file and key_file"
            ) as caught,
        ):
            HttpServer(consumer, ("127.0.0.1", 0))
        assert "\n" not in str(caught.value)


def test_more_at_a_time_than_can_be_answered_is_told_to_come_back(unkeyed, monkeypatch):
    monkeypatch.setattr("consumer.http.guard.MOST_AT_A_TIME", 0)
    refused = unkeyed.get("/status")
    assert error_of(refused) == (503, "unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert unkeyed.get("/healthz").json()["status"] == "failing"  # of a consumer not started


def test_a_defect_has_the_form_of_other_errors(unkeyed, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("consumer.http.app.status_of", lambda _: 1 / 0)
    answer = unkeyed.get("/status")
    assert error_of(answer) == (500, "failure")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_says_how_it_is_reached(tmp_path, host, shown, scheme):
    issued = Authority(tmp_path).issue("server")
    tls = {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}
    http = {"keys": KEYS, "tls": tls if scheme == "https" else {}}
    with unconnected(tmp_path, http=http) as consumer, serving(consumer, host=host) as server:
        assert server.url == f"{scheme}://{shown}:{server.port}"
