"""A secret that is read again when its file changes."""

import os

import pytest

from consumer.config import SecretSource


@pytest.fixture
def told():
    return []


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("first\n")
    return path


@pytest.fixture
def source(file, told):
    return SecretSource("first", file=str(file), key="zerobus.client_secret_file", tell=told.append)


def renew(path, content):
    """Replace a file as those do who care: at once, by another one."""
    new = path.with_name("new")
    new.write_text(content)
    new.replace(path)


def test_a_secret_without_a_file_stays(told):
    assert SecretSource("inline", tell=told.append).current() == "inline"
    assert told == []


def test_a_file_that_did_not_change_is_no_news(source, told):
    assert [source.current(), source.current()] == ["first", "first"]
    assert told == []


def test_a_file_that_has_changed_is_read_again(source, file, told):
    assert source.current() == "first"
    renew(file, "second\n")
    assert source.current() == "second"
    assert told == ["zerobus.client_secret_file has changed: it is used from now on"]


def test_a_mounted_secret_is_what_its_link_leads_to(tmp_path, told):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
    (tmp_path / "data").symlink_to("old")
    (tmp_path / "secret").symlink_to("data/secret")
    source = SecretSource("old", file=str(tmp_path / "secret"), key="key", tell=told.append)
    assert source.current() == "old"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "data")
    assert source.current() == "new"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 70_000])
def test_a_file_in_the_middle_of_being_written_leaves_the_secret_as_it_was(
    source, file, told, content
):
    file.write_bytes(content)
    assert [source.current(), source.current()] == ["first", "first"]
    (text,) = told
    assert text.startswith("zerobus.client_secret_file names a file that ")
    assert text.endswith("; what was in it is still used")
    renew(file, "second")
    assert source.current() == "second"


def test_a_file_that_is_gone_is_told_once_without_its_name(source, file, told):
    file.unlink()
    assert [source.current(), source.current()] == ["first", "first"]
    (text,) = told
    assert "No such file" in text
    assert str(file) not in text
    renew(file, "second")
    assert source.current() == "second"
    file.unlink()
    source.current()
    assert len(told) == 3


def test_a_pipe_is_read_once_only(tmp_path, told):
    os.mkfifo(tmp_path / "pipe")
    source = SecretSource("first", file=str(tmp_path / "pipe"), key="key", tell=told.append)
    assert source.current() == "first"
    assert told == []
