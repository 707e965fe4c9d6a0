"""What is promised survives the server's death."""

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from deltalake import DeltaTable
from support.local_rig import READING, TABLE, until
from support.services import PATIENCE, free_port

from zerobus_local import DataDirInUseError, LocalZerobus

SCRIPT = Path(__file__).with_name("serve_until_killed.py")


class Process:
    """The server as a process that can be killed and started again on the same ports."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        self.ports = [str(free_port()) for _ in range(2)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, self.data_dir, *self.ports], stdout=subprocess.PIPE, text=True
        )
        self.endpoint, self.workspace_url = self.process.stdout.readline().split()

    def kill(self):
        self.process.kill()  # SIGKILL
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def process(tmp_path, schema):
    maker = LocalZerobus(tmp_path / "data")
    maker.create_table(TABLE, schema)
    maker.stop()
    process = Process(tmp_path / "data")
    yield process
    process.kill()


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(process, make_client, tmp_path):
    client = make_client(
        SimpleNamespace(endpoint=process.endpoint, workspace_url=process.workspace_url)
    )
    stream = client.stream(recovery_retries=10_000)
    batches, size = 400, 25
    acknowledged = []

    def produce():
        for n in range(batches):
            offset = stream.ingest_records_offset([READING(n * size + k) for k in range(size)])
            assert offset == n
            if n >= 8:
                stream.wait_for_offset(n - 8)
                acknowledged.append(n - 8)
        stream.flush()
        acknowledged.extend(range(batches - 8, batches))

    def landed():
        table = DeltaTable(tmp_path / "data" / "plant" / "ot" / "readings")
        return {int(id_) for id_ in table.to_pyarrow_table().column("id").to_pylist()}

    producer = threading.Thread(target=produce)
    producer.start()
    for threshold in (50, 150, 250):
        assert until(lambda due=threshold: len(acknowledged) >= due)
        promised = list(acknowledged)
        process.kill()
        rows = landed()
        assert all(n * size + k in rows for n in promised for k in range(size))
        process.start()
    producer.join(PATIENCE)
    assert len(acknowledged) == batches
    assert landed() == set(range(batches * size))


def test_a_data_directory_has_one_server(process, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for name in ("data", "link", "data"):
        with pytest.raises(DataDirInUseError):
            LocalZerobus(tmp_path / name)
        (tmp_path / "data" / ".zerobus-local.lock").unlink(missing_ok=True)
    process.kill()
    LocalZerobus(tmp_path / "data").stop()  # the lock died with the process
    process.start()
