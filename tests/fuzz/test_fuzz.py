"""Every target holds for some inputs; what once failed does so no more; failures are noticed."""

import itertools

import pytest
from support import peer_environments

from fuzz import campaign, engines, faulty
from fuzz.orders import Step
from fuzz.targets import TARGETS

INPUTS = {
    "columns": 200,
    "payloads": 30,
    "orders": 12,
    "packets": 100,
    "posts": 500,
    "json": 12,
    "topics": 24,
    "states": 300,
}
"""The same ones every time, so many of each target; `make fuzz` tries others."""

KEPT = sorted(file for file in campaign.CORPUS.glob("*/*") if file.is_file())


def assert_holds(target, outcome):
    """What failed is kept, and tried again by the next run of the tests."""
    if outcome.failed is not None:
        file = campaign.keep(target, outcome.failed)
        pytest.fail(f"{outcome.why}\nkept as {file}", pytrace=False)
    assert outcome.tried > 0


@pytest.mark.parametrize("target", TARGETS)
def test_properties_hold_for_mutated_inputs(target):
    outcome = campaign.run(target, "mutation", 100, inputs=INPUTS[target])
    assert_holds(target, outcome)
    assert outcome.tried == INPUTS[target]


def test_properties_hold_for_stories_that_hypothesis_tells():
    outcome = campaign.run("orders", "hypothesis", 100, inputs=20)
    assert_holds("orders", outcome)
    assert outcome.tried > 20 * 10  # each step of a story is one


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_once_failed_holds(file):
    assert_holds(file.parent.name, campaign.run(file.parent.name, "replay", 60, replayed=file))


# The fuzzer itself


@pytest.mark.parametrize(
    ("defect", "engine", "said"),
    [
        ("RAISES", "mutation", "ValueError: a defect"),
        ("RAISES", "atheris", "ValueError: a defect"),
        ("ABORTS", "mutation", "Aborted"),
        ("ABORTS", "atheris", ""),
        ("TAKES_MEMORY", "mutation", "MemoryError"),
    ],
)
def test_an_input_that_fails_is_known_however_the_process_ended(defect, engine, said):
    if engine == "atheris":
        try:
            peer_environments.packages_of("atheris")
        except peer_environments.UnavailableError as error:
            pytest.skip(f"atheris cannot be had: {error}")
    outcome = campaign.run(f"fuzz.faulty:{defect}", engine, 60, seed=1)
    assert outcome.tried > 0
    assert b"\xff" in outcome.failed
    assert said in outcome.why


def test_an_input_that_takes_forever_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv(engines.SLOWEST_VARIABLE, "1")
    file = tmp_path / "slow"
    file.write_bytes(b"\xff")
    outcome = campaign.run("fuzz.faulty:HANGS", "replay", 60, replayed=file)
    assert outcome.failed == b"\xff"
    assert "_hangs" in outcome.why


def test_a_target_that_holds_is_tried_until_the_time_is_over():
    outcome = campaign.run("fuzz.faulty:HOLDS", "mutation", 0.5)
    assert outcome.failed is None
    assert outcome.tried > 10  # seeds are only two


def test_equal_seeds_give_equal_inputs():
    class Notes(list):
        tried = 0

        def note(self, data):
            self.tried += 1
            self.append(data)

    first, again, other = Notes(), Notes(), Notes()
    for notes, seed in ((first, 1), (again, 1), (other, 2)):
        engines.mutation(faulty.HOLDS, notes, seed, 100, inputs=50)
    assert first == again != other
    assert len(first) == 50


def test_a_campaign_that_cannot_start_is_no_finding():
    with pytest.raises(RuntimeError, match="no input was tried"):
        campaign.run("fuzz.faulty:CANNOT_START", "mutation", 0.2)


def test_a_kept_input_is_one_file_under_the_name_of_its_target(monkeypatch, tmp_path):
    monkeypatch.setattr(campaign, "CORPUS", tmp_path)
    first, again = (campaign.keep("orders", b"\x01\x02") for _ in range(2))
    assert first == again
    assert first.parent == tmp_path / "orders"
    assert first.read_bytes() == b"\x01\x02"


def test_every_three_bytes_are_a_step_and_every_step_is_three_bytes():
    for raw in itertools.product(range(32), range(0, 256, 5), (0, 37, 255)):
        step = Step.from_bytes(bytes(raw))
        assert Step.from_bytes(step.to_bytes()) == step
