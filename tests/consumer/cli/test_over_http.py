"""`rebirth`, `pause`, `resume`, `drain`: a running consumer is asked over its HTTP."""

import json

import pytest
import yaml
from click.testing import CliRunner
from support.certificates import Authority
from support.http_side import KEYS, OPERATOR, READER, http_side
from support.services import free_port
from support.unconnected import written

from consumer.cli.commands import COMMANDS, LazyGroup
from consumer.errors import ConfigurationError, SparkplugZerobusError


@pytest.fixture
def side(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        yield client


def asked(tmp_path, port, *arguments, keys=KEYS, **http):
    """The result of a command with a configuration for this port."""
    path = tmp_path / "plant.yaml"
    path.write_text(
        yaml.safe_dump(written(http={"listen": f"127.0.0.1:{port}", "keys": keys, **http}))
    )
    group = LazyGroup(lazy=COMMANDS)
    command = [*arguments, "--config", str(path)]
    return CliRunner().invoke(group, command)


def test_a_rebirth_is_asked_for(side, tmp_path):
    done = asked(tmp_path, side.server.port, "rebirth", "Plant/Edge")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Plant/Edge is asked for its births" in done.stderr
    assert len(side.consumer._rebirths._asked_by_user) == 1


def test_delivery_pauses_and_goes_on(side, tmp_path):
    port = side.server.port
    done = asked(tmp_path, port, "pause", "--for", "10m", "--why", "migration")
    assert done.exit_code == 0
    assert done.stderr.startswith("main.ot.tag_events: paused until ")
    assert side.consumer.main_delivery.paused.by == "on-call"
    done = asked(tmp_path, port, "resume", "--json")
    assert json.loads(done.stdout) == {"pauses": []}
    assert side.consumer.main_delivery.paused is None


def test_draining_says_what_is_left(side, tmp_path):
    done = asked(tmp_path, side.server.port, "drain", "--seconds", "0")
    assert (done.exit_code, done.stderr) == (0, "0 rows wait\n")


def test_a_key_may_lie_beside_the_configuration(side, tmp_path):
    key = tmp_path / "key"
    key.write_text(OPERATOR + "\n")
    port, others = side.server.port, KEYS[:1]
    with_key = ["resume", "--key-file", str(key)]
    assert asked(tmp_path, port, *with_key, keys=others).exit_code == 0
    without = asked(tmp_path, port, "resume", keys=others)
    assert isinstance(without.exception, ConfigurationError)
    key.write_text(READER)
    refused = asked(tmp_path, port, *with_key)
    assert "the consumer refuses: the key 'grafana' is of the role reader" in str(refused.exception)
    assert READER not in str(refused.exception)


def test_nobody_may_be_there(tmp_path):
    port = free_port()
    done = asked(tmp_path, port, "resume")
    assert isinstance(done.exception, SparkplugZerobusError)
    assert f"no consumer answers at 127.0.0.1:{port}" in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_certificate_of_the_plants_own_authority_is_known_by_itself(tmp_path):
    authority = Authority(tmp_path / "authority")
    tls, another = (
        {"cert_file": str(made.cert_file), "key_file": str(made.key_file)}
        for made in (authority.issue("consumer"), authority.issue("another"))
    )
    with http_side(tmp_path, http={"keys": KEYS, "tls": tls}) as side:
        assert asked(tmp_path, side.server.port, "resume", tls=tls).exit_code == 0
        done = asked(tmp_path, side.server.port, "resume", tls=another)
    assert isinstance(done.exception, SparkplugZerobusError)
    assert str(done.exception).endswith("; was it started with this http.tls.cert_file?")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rebirth", "Edge"],
        ["rebirth", "Plant/Edge/Boiler"],
        ["pause"],
        ["pause", "--for", "soon"],
        ["drain", "--seconds", "60"],
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path, arguments):
    assert asked(tmp_path, 9, *arguments).exit_code == 2


def test_each_command_is_listed():
    assert {"rebirth", "pause", "resume", "drain"} <= set(COMMANDS)
