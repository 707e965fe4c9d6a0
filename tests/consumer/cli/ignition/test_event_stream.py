"""`sparkplug-zerobus ignition event-stream` in the data directory of a gateway."""

from __future__ import annotations

import json
import stat

import pytest
from support.gateway import KEY as API_KEY
from support.gateway import serving_gateway
from support.gateway.server import READER_KEY
from support.program import run
from support.terminal import in_terminal

KEY = "a-key-of-the-gateway"
FOLDER = "projects/Plant/com.inductiveautomation.eventstream/event-streams/fast"


@pytest.fixture
def data(tmp_path):
    project = tmp_path / "data" / "projects" / "Plant"
    project.mkdir(parents=True)
    (project / "project.json").write_text("{}")
    return tmp_path / "data"


def arguments(
    data, *more, tags=("--tag", "[default]Line 1/**"), key=("--no-ingest-key",), url="http://c"
):
    where = ["--data-dir", str(data), "--project", "Plant"]
    what = ["--url", url] if url else []
    return ["ignition", "event-stream", "fast", *where, *tags, *what, *key, *more]


def stream(data, *more, code=0, **options):
    done = run(*arguments(data, *more, **options))
    assert done.returncode == code, done.stderr
    return done


def config(data):
    return json.loads((data / FOLDER / "config.json").read_bytes())


def content(data):
    return {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


def test_it_is_shown_and_written_and_written_only_once(data):
    first = stream(data, "--yes", "--timing", "fast")
    assert '+      "debounceMs": 50,'.replace("      ", "    ") in first.stdout
    assert "what was there: --restore " in first.stderr
    assert config(data)["batch"]["maxWaitMs"] == 500
    before = content(data)
    again = stream(data, "--yes", "--timing", "fast")
    assert (again.stdout, content(data)) == ("", before)
    assert "nothing to write" in again.stderr


def test_a_dry_run_writes_nothing(data):
    before = content(data)
    done = stream(data, "--dry-run", "--yes")
    assert "+++ config.json as it would be" in done.stdout
    assert "+++ resource.json as it would be" in done.stdout
    assert "nothing was written: --dry-run" in done.stderr
    assert content(data) == before


def test_nobody_to_ask_is_no(data):
    before = content(data)
    assert "nothing was written: --yes" in stream(data, code=2).stderr
    assert content(data) == before


@pytest.mark.parametrize(("answer", "code"), [("y\r", 0), ("\r", 2)])
def test_somebody_at_a_terminal_is_asked(data, answer, code):
    with in_terminal(*arguments(data)) as terminal:
        terminal.wait_for("[y/N]")
        terminal.press(answer)
        assert terminal.wait_end() == code
    assert (data / FOLDER / "config.json").exists() == (code == 0)


@pytest.fixture
def gateway():
    with serving_gateway() as gateway:
        yield gateway


def told(gateway, tmp_path, key=API_KEY):
    """The options that name a gateway."""
    file = tmp_path / "api.key"
    file.write_text(f"{key}\n")
    return "--gateway", gateway.url, "--key-file", str(file)


def asked(gateway):
    return [(method, path.removeprefix("/data/api/v1/")) for method, path, _ in gateway.asked]


INFO, SCAN = ("GET", "gateway-info"), ("POST", "scan/projects")


def test_the_gateway_is_told_of_what_was_written(data, gateway, tmp_path):
    done = stream(data, "--yes", *told(gateway, tmp_path))
    assert asked(gateway) == [INFO, SCAN]
    assert "the gateway was told to read its projects" in done.stderr
    assert "may need that a second time" in done.stderr
    again = stream(data, "--yes", *told(gateway, tmp_path))
    assert asked(gateway) == [INFO, SCAN] * 2
    assert "nothing to write" in again.stderr
    assert "second time" not in again.stderr


def test_a_gateway_that_refuses_the_key_is_noticed_before_anything_is_written(
    data, gateway, tmp_path
):
    before = content(data)
    done = stream(data, "--yes", *told(gateway, tmp_path, "wrong:key"), code=1)
    assert "API key" in done.stderr
    assert "wrong:key" not in done.stderr
    assert content(data) == before


def test_an_ignition_without_event_streams_is_noticed_before(data, gateway, tmp_path):
    gateway.state.version = "8.1.44"
    before = content(data)
    done = stream(data, "--yes", *told(gateway, tmp_path), code=1)
    assert "is Ignition 8.1.44: Event Streams begin with 8.3" in done.stderr
    assert content(data) == before


def test_a_gateway_that_does_not_let_itself_be_told_has_the_files_all_the_same(
    data, gateway, tmp_path
):
    done = stream(data, "--yes", *told(gateway, tmp_path, READER_KEY), code=1)
    assert "written: " in done.stderr
    assert "403" in done.stderr
    assert (data / FOLDER / "config.json").exists()


def test_a_dry_run_tells_the_gateway_nothing(data, gateway, tmp_path):
    stream(data, "--dry-run", *told(gateway, tmp_path))
    assert asked(gateway) == [INFO]


def test_what_somebody_else_changes_meanwhile_is_not_written_over(data):
    with in_terminal(*arguments(data)) as terminal:
        terminal.wait_for("[y/N]")
        (data / FOLDER).mkdir(parents=True)
        (data / FOLDER / "config.json").write_text("{}")
        terminal.press("y\r")
        assert terminal.wait_end() == 1
    assert config(data) == {}


def test_what_was_there_is_put_back(data):
    stream(data, "--yes")
    first = content(data / FOLDER)
    second = stream(data, "--yes", "--timing", "slow")
    stamp = second.stderr.partition("--restore ")[2].split()[0]
    shown = stream(data, "--restore", "--dry-run")
    assert '+    "debounceMs": 100,' in shown.stdout
    stream(data, "--restore", "--yes")
    assert content(data / FOLDER) == first
    # What was there before that is in a backup, too.
    stream(data, "--restore", "--yes")
    assert config(data)["batch"]["debounceMs"] == 500
    stream(data, "--restore", stamp, "--yes")
    assert content(data / FOLDER) == first
    assert "no backup 1999; there are: " in stream(data, "--restore", "1999", code=2).stderr


def test_one_that_was_new_goes_away_when_it_is_put_back(data):
    stream(data, "--yes", "--backup-dir", str(data / "elsewhere"))
    stream(data, "--restore", "--yes", "--backup-dir", str(data / "elsewhere"))
    assert not (data / FOLDER).exists()
    assert not (data / "sparkplug-zerobus").exists()


def test_tags_come_from_a_file_and_the_command_line(data, tmp_path):
    file = tmp_path / "tags.txt"
    file.write_text("\ufeff# all\n[default]Ä/**\n[default]Line 1/**\n")
    stream(data, "--yes", "--tags-file", str(file))
    paths = config(data)["source"]["config"]["paths"]
    assert paths == ["[default]Line 1/**", "[default]Ä/**"]
    assert "--tags-file" in stream(data, "--tags-file", str(file) + "x", code=2).stderr


def test_a_key_that_is_written_is_warned_of_and_shown_nowhere(data, tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    done = stream(data, "--yes", key=("--ingest-key-file", str(file)))
    assert "warning: the key will lie in the project" in done.stderr
    assert "note: with http:// the key can be read on the way" in done.stderr
    assert KEY not in done.stdout + done.stderr
    written = data / FOLDER / "config.json"
    assert f'key = u"{KEY}"' in config(data)["handlers"][0]["config"]["userCode"]
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    gone = stream(
        data, "--yes", key=("--ingest-key-on-gateway", "/etc/ingest.key"), url="https://c"
    )
    assert KEY not in gone.stdout + gone.stderr + written.read_text()
    assert "note" not in gone.stderr


def test_a_key_of_a_file_that_is_no_key_is_not_told(data, tmp_path):
    file = tmp_path / "key"
    for text in ("", "short", "two words of a key"):
        file.write_text(text)
        done = stream(data, code=2, key=("--ingest-key-file", str(file)))
        assert "--ingest-key-file: the " in done.stderr
        assert not text or text not in done.stderr


@pytest.mark.parametrize(
    ("more", "options", "error"),
    [
        ([], {"url": ""}, "--url says where"),
        ([], {"key": ()}, "say where the ingest key is"),
        (["--ingest-key-on-gateway", "/k"], {}, "say where the ingest key is"),
        ([], {"tags": ()}, "no tags"),
        (["--key-file", "/k"], {}, "are for --gateway"),
        (["--debounce-ms", "2000"], {}, "a debounce of 2000 ms is longer than the 1000 ms"),
        (["--project", "Other"], {}, "no project in "),
    ],
)
def test_what_is_missing_or_wrong_is_said(data, more, options, error):
    assert error in stream(data, *more, code=2, **options).stderr
    assert not (data / FOLDER).exists()
