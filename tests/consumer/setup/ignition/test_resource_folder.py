"""Files of a resource: replaced whole, kept before, and put back."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys

import pytest

from consumer.errors import ConfigurationError, ResourceFileError
from consumer.setup.ignition.resource_folder import resource_folder

KIND = ("module", "things")
NOW = 1_796_040_000.0
STAMP = "2026-11-30T12-00-00"


@pytest.fixture
def data(tmp_path):
    project = tmp_path / "data" / "projects" / "Plant"
    project.mkdir(parents=True)
    (project / "project.json").write_text("{}")
    return tmp_path / "data"


@pytest.fixture
def folder(data):
    return resource_folder(data, "Plant", KIND, "line/fast")


def write(folder, content, secret=False, now=NOW):
    return folder.write({"config.json": content}, now, secret=secret)


def test_it_is_where_the_gateway_looks(data, folder):
    write(folder, b"1")
    path = data / "projects" / "Plant" / "module" / "things" / "line" / "fast" / "config.json"
    assert path.read_bytes() == b"1"
    assert [each.name for each in path.parent.iterdir()] == ["config.json"]


def test_what_was_there_is_kept_and_no_backup_is_written_over(folder):
    stamps = [write(folder, content).name for content in (b"1", b"2", b"3")]
    assert stamps == [STAMP, f"{STAMP}_2", f"{STAMP}_3"]
    assert folder.stamps() == stamps
    assert folder.kept(STAMP) == {"config.json": None}
    assert folder.kept(f"{STAMP}_2") == {"config.json": b"1"}
    assert folder.kept("") == {"config.json": b"2"}


def test_the_newest_of_more_than_ten_in_a_second_is_known(folder):
    for number in range(12):
        write(folder, str(number).encode())
    assert folder.kept("") == {"config.json": b"10"}


def test_what_was_not_there_is_taken_away_again(folder):
    write(folder, b"1")
    write(folder, None)
    assert folder.read("config.json") == {"config.json": None}
    assert not folder.path.exists()


def test_other_files_of_the_resource_stay(folder):
    write(folder, b"1")
    (folder.path / "thumbnail.png").write_bytes(b"png")
    write(folder, None)
    assert (folder.path / "thumbnail.png").read_bytes() == b"png"


def test_secrets_and_backups_are_for_their_owner_alone(folder):
    write(folder, b"1")
    assert stat.S_IMODE((folder.path / "config.json").stat().st_mode) == 0o644
    (folder.path / "config.json").chmod(0o664)
    write(folder, b"2")
    assert stat.S_IMODE((folder.path / "config.json").stat().st_mode) == 0o664
    backup = write(folder, b"3", secret=True)
    assert stat.S_IMODE((folder.path / "config.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert stat.S_IMODE((backup / "config.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_what_root_writes_belongs_to_the_owner_of_the_project(data, folder):
    project = data / "projects" / "Plant"
    os.chown(project, 1234, 1235)
    write(folder, b"1")
    for path in (folder.path / "config.json", folder.path, folder.path.parents[2]):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(folder, monkeypatch):
    write(folder, b"1")

    def refuse(_handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(ResourceFileError, match="no space left on device"):
            write(folder, b"2")
    assert folder.read("config.json") == {"config.json": b"1"}
    assert [each.name for each in folder.path.iterdir()] == ["config.json"]
    # The backup that was not finished is none.
    assert folder.stamps() == [STAMP]


_KILLED = """
import os, signal, sys
from pathlib import Path
from consumer.setup.ignition.resource_folder import resource_folder

folder = resource_folder(Path(sys.argv[1]), "Plant", ("module", "things"), "line/fast")
real = os.fsync

def fsync(handle):
    if os.readlink(f"/proc/self/fd/{handle}").startswith(str(folder.path) + "/"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
folder.write({"config.json": b"a key"}, 1796040000.0, secret=True)
"""


def test_what_a_kill_leaves_is_taken_away_by_the_next_write(data, folder):
    done = subprocess.run([sys.executable, "-c", _KILLED, str(data)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = folder.path.iterdir()
    assert left.read_bytes() == b"a key"
    (folder.path / ".config.json.swp").write_bytes(b"of an editor")
    write(folder, b"1")
    assert {each.name for each in folder.path.iterdir()} == {".config.json.swp", "config.json"}


def test_a_backup_that_is_not_there_is_told_with_those_that_are(folder):
    with pytest.raises(ConfigurationError, match="there is no backup in"):
        folder.kept("")
    write(folder, b"1")
    with pytest.raises(ConfigurationError, match=f"no backup yesterday; there are: {STAMP}"):
        folder.kept("yesterday")


def test_a_project_that_is_not_there_is_refused(data):
    with pytest.raises(ConfigurationError, match="it has no project"):
        resource_folder(data, "Other", KIND, "fast")


@pytest.mark.parametrize(
    "name", ["", "..", "a/../b", "a//b", "/a", " a", ".a", "a\nb", "a:b", "a\\b"]
)
def test_a_name_that_is_none_of_a_folder_is_refused(data, name):
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        resource_folder(data, "Plant", KIND, name)


def test_a_project_has_no_slash(data):
    with pytest.raises(ConfigurationError, match="it has a slash"):
        resource_folder(data, "Plant/x", KIND, "fast")


def test_a_link_out_of_the_project_is_not_followed(data, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (data / "projects" / "Plant" / "module").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="leads out of the project"):
        resource_folder(data, "Plant", KIND, "fast")


def test_what_cannot_be_read_is_said(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "config.json").mkdir()
    where = re.escape(str(folder.path / "config.json"))
    with pytest.raises(ResourceFileError, match=f"{where}: is a directory"):
        folder.read("config.json")
