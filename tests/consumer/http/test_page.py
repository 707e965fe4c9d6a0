"""The page's own files: what is served, to whom, and that nothing of others is needed for it."""

import hashlib
import re
from importlib import resources

import pytest
from support.http_side import KEYS, http_side

from consumer.http.page import page_files

FILES = page_files()
VENDOR = resources.files("consumer.http") / "page" / "vendor"
OWN = [path for path in FILES if "/vendor/" not in path]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with http_side(tmp_path_factory.mktemp("page"), http={"keys": KEYS}) as client:
        yield client


def test_what_others_made_is_what_they_published():
    sums = (VENDOR / "SHA256SUMS").read_text("ascii").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in sums)}
    present = {each.name for each in VENDOR.iterdir()} - {"SHA256SUMS"}
    assert listed.keys() == present
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_every_library_has_its_licence_beside_it():
    licences = {each.name for each in VENDOR.iterdir() if each.name.endswith(".LICENSE")}
    assert licences == {"htm.LICENSE", "preact.LICENSE", "uplot.LICENSE"}


def test_files_are_served_without_a_key_and_with_strict_rules(client):
    for path, file in FILES.items():
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (200, file.body), path
        assert answer.headers["content-type"] == file.media_type
        assert answer.headers["cache-control"] == "no-cache"
        rules = answer.headers["content-security-policy"]
        assert "default-src 'self'" in rules
        assert "unsafe" not in rules


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/page.py",
        "/page/../page.py",
        "/page/vendor/SHA256SUMS",
        "/page/%2e%2e/app.py",
    ],
)
def test_nothing_but_the_page_is_served(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", OWN)
def test_the_page_has_no_inline_code_and_asks_no_other_host(path):
    text = FILES[path].body.decode()
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", text)
    if path == "/":
        assert "style=" not in text
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=", text)


def test_every_module_and_sheet_that_is_asked_for_is_there():
    for path, file in FILES.items():
        text = file.body.decode() if path in OWN else ""
        base = path.rpartition("/")[0]
        for name in re.findall(r"""from ["']([^"']+)["']""", text) + re.findall(
            r'(?:href|src)="(/page/[^"]+)"', text
        ):
            wanted = f"{base}/{name.removeprefix('./')}" if name.startswith("./") else name
            assert wanted in FILES, f"{path}: {name}"
