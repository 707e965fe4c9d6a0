"""The script for Ignition 8.1: runs in Python 2.7 and 3, and calls what is documented."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from consumer.errors import ConfigurationError
from consumer.setup.ignition.script import transmission_script
from consumer.setup.ignition.transmission import TYPES, Wishes, server_fields

JYTHON = shutil.which("jython")
IN_JYTHON = pytest.mark.skipif(JYTHON is None, reason="no jython: scripts/ensure-jython.sh")
PROGRAMS = [
    pytest.param(JYTHON, id="jython", marks=[IN_JYTHON, pytest.mark.long]),
    pytest.param(sys.executable, id="python3"),
]
NAMES = dict.fromkeys(TYPES, "plant")
ODD = 'Wärme "\\ \n#{}%s\u202e'
RECORDING = """
import json
class Recorder(object):
    def __init__(self):
        self.cirruslink = self.transmission = self
        self.created = []
    def createConfig(self, kind, props):
        self.created.append([kind, props])
system = Recorder()
exec(compile(SCRIPT, "script", "exec"), {"system": system})
print("CREATED " + json.dumps(system.created))
"""


def created(program, script, tmp_path):
    """What the script creates when it is run: types with their properties."""
    file = tmp_path / "run.py"
    file.write_text(f"SCRIPT = {json.dumps(script)}\n{RECORDING}", "ascii")
    done = subprocess.run(
        [program, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(each for each in done.stdout.splitlines() if each.startswith("CREATED "))
    return json.loads(line.removeprefix("CREATED "))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_transmitter_is_created_last_and_names_store_and_set(program, tmp_path):
    wishes = Wishes(
        ODD,
        NAMES,
        server_fields("mqtts://broker", "edge", ("vault", "mqtt")),
        {"groupId": ODD, "tagPacingPeriod": 500},
    )
    script = transmission_script(wishes, with_password=True)
    assert script.isascii()
    assert 'raise ValueError("PASSWORD is empty' in script
    made = created(program, script.replace('PASSWORD = ""', 'PASSWORD = "typed"'), tmp_path)
    assert [kind for kind, _ in made] == ["History Stores", "Sets", "Servers", "Transmitters"]
    store, hosts, server, transmitter = (props for _, props in made)
    assert (store["Enabled"], store["TransmissionHistoryStoreType"]) == (True, "DISK_BACKED")
    assert hosts["PrimaryHostId"] == ODD
    assert (server["Url"], server["Password"]) == ("ssl://broker:8883", "typed")
    assert transmitter["HistoryStoreId"] == store["Id"]
    assert transmitter["ServerSetId"] == hosts["Id"]
    assert (transmitter["GroupId"], transmitter["TagPacingPeriod"]) == (ODD, 500)


def test_without_a_secret_there_is_no_password(tmp_path):
    wishes = Wishes("host", NAMES, server_fields("mqtt://broker", "", None))
    script = transmission_script(wishes, with_password=False)
    assert "PASSWORD" not in script
    assert "Password" not in dict(created(sys.executable, script, tmp_path))["Servers"]


def test_fields_of_8_3_are_refused():
    with pytest.raises(ConfigurationError, match="--set"):
        transmission_script(
            Wishes("host", NAMES, more={"server": {"keepAlive": 5}}), with_password=False
        )
