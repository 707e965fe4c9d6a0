"""Files that the configuration is in or names are read to a bound, and waited for to another."""

import os
import threading
from pathlib import Path

import pytest
from support.config_cases import SECRET, changed, refusal

from consumer.config import files, load, parse, read_secret
from consumer.errors import ConfigurationError
from consumer.network import check_pem_files


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_end_is_read_to_the_bound(device):
    assert "names a file that is larger than 64 KiB" in refusal(("servers.0.password_file", device))
    with pytest.raises(ConfigurationError, match=f"{device}: is larger than 1024 KiB"):
        load(Path(device), {})


def test_a_pipe_into_which_nobody_writes_is_not_waited_for_without_end(pipe, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    with pytest.raises(ValueError, match="is a pipe that nobody wrote to its end"):
        read_secret(pipe)
    with pytest.raises(ConfigurationError, match="is a pipe that nobody wrote to its end"):
        load(pipe, {})


def test_a_pipe_that_somebody_leaves_open_is_not_waited_for_without_end(pipe, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    with pipe.open("r+b", buffering=0) as writer:
        writer.write(b"half a sec")
        with pytest.raises(ValueError, match="is a pipe that nobody wrote to its end"):
            read_secret(pipe)


def test_a_pipe_that_is_filled_is_as_good_as_a_file(pipe):
    writer = threading.Thread(target=pipe.write_text, args=(f"{SECRET}\n",))
    writer.start()
    assert read_secret(pipe) == SECRET
    writer.join()


def test_the_pipe_of_a_shell_is_as_good_as_a_file():
    reading, writing = os.pipe()
    os.write(writing, f"{SECRET}\n".encode())
    os.close(writing)
    assert read_secret(Path(f"/dev/fd/{reading}")) == SECRET
    os.close(reading)


@pytest.mark.parametrize("name", [f"/nowhere/{SECRET}", SECRET, f"{SECRET}\n", f"{SECRET}\0", "/"])
def test_a_secret_in_place_of_the_name_of_its_file_is_not_shown(name):
    text = refusal(("servers.0.password_file", name))
    assert text.startswith("c.yaml: servers[0].password_file: names a file that cannot be read: ")


@pytest.mark.parametrize("key", ["servers.0.tls.ca_file", "servers.0.tls.key_file", "spool.path"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n", "must be the name of a file, not what is in"),
        (f"{SECRET}\nx", "must be the name of a file, not what is in it"),
        ("postgres://host/spool", "must be the name of a file, not an address"),
    ],
)
def test_the_name_of_a_file_is_neither_its_content_nor_an_address(key, name, words):
    assert words in refusal((key, name), ("servers.0.url", "mqtts://h"))


def test_files_of_certificates_are_files_of_a_size(tmp_path, pipe):
    for name, words in ((pipe, "regular"), ("/dev/zero", "regular"), (tmp_path / "no", "No such")):
        with pytest.raises(OSError, match=words):
            check_pem_files("", str(name))
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(OSError, match="larger than 16 MiB"):
        check_pem_files(str(large))


def test_a_secret_of_a_pipe_gets_into_the_configuration(pipe):
    writer = threading.Thread(target=pipe.write_text, args=("pa ss\n",))
    writer.start()
    changes = (("servers.0.username", "u"), ("servers.0.password_file", str(pipe)))
    assert parse(changed(*changes)).servers[0].password.get_secret_value() == "pa ss"
    writer.join()
