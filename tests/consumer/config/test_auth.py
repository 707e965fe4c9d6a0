"""How the consumer proves who it is: which keys go together."""

import pytest
from support.check_cases import SECRET, mapping

from consumer.config import parse
from consumer.errors import ConfigurationError


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "identity"
    path.write_text("header.identity.signature\n")
    return str(path)


def zerobus(tmp_path, *without, **changes):
    written = mapping(tmp_path, **changes)
    for key in without:
        del written["zerobus"][key]
    return parse(written).zerobus


def refusal(tmp_path, *without, **changes):
    with pytest.raises(ConfigurationError) as refused:
        zerobus(tmp_path, *without, **changes)
    return str(refused.value).removeprefix("configuration: zerobus.")


def test_a_secret_is_the_proof_unless_something_else_is_said(tmp_path):
    assert zerobus(tmp_path).secret.get_secret_value() == SECRET


def test_a_federated_consumer_needs_no_secret_of_databricks(tmp_path, token_file):
    found = zerobus(tmp_path, "client_secret", auth="federated", identity_token_file=token_file)
    assert found.secret.get_secret_value() == "header.identity.signature"
    assert found.secret_file == token_file
    assert "identity.signature" not in repr(found)


def test_a_policy_of_the_account_needs_no_client_id(tmp_path, token_file):
    keys = {"auth": "federated", "identity_token_file": token_file}
    assert zerobus(tmp_path, "client_secret", "client_id", **keys).client_id == ""


def test_a_secret_needs_its_client_id(tmp_path):
    assert refusal(tmp_path, "client_id").startswith("client_id: missing; add it, for example ")


def test_a_federated_consumer_needs_the_file_of_its_token(tmp_path):
    text = refusal(tmp_path, "client_secret", auth="federated")
    assert text == "identity_token_file: missing; give identity_token_file"


def test_a_token_that_expires_is_not_written_into_the_configuration(tmp_path):
    text = refusal(tmp_path, "client_secret", auth="federated", identity_token="a.b.c")
    assert text == "identity_token: expires; give identity_token_file, which is read again"


def test_two_proofs_are_one_too_many(tmp_path, token_file):
    text = refusal(tmp_path, auth="federated", identity_token_file=token_file)
    assert text == "client_secret: is not for auth: federated; remove it, or change auth"
    text = refusal(tmp_path, identity_token_file=token_file)
    assert text == (
        "identity_token_file: is not for auth: client_credentials; remove it, or change auth"
    )


def test_a_token_file_that_cannot_be_read_is_refused_at_the_start(tmp_path):
    keys = {"auth": "federated", "identity_token_file": str(tmp_path / "none")}
    text = refusal(tmp_path, "client_secret", **keys)
    assert text.startswith("identity_token_file: names a file that cannot be read")
