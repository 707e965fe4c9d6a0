"""A library that writes a line for each bad request fills no disk."""

import logging

import pytest

from consumer.config.model import Log
from consumer.log_budget import LogBudget
from consumer.logs import Seldom, configure_logging


class Heard(logging.Handler):
    """Keeps what was written."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def budget(time):
    return LogBudget(time)


@pytest.fixture
def heard(budget):
    heard = Heard()
    heard.addFilter(Seldom(budget))
    return heard


@pytest.fixture
def logger(heard):
    logger = logging.getLogger("tests.library")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(heard)


def test_each_warning_passes_once_a_minute_and_the_others_are_counted(heard, logger, time, budget):
    for _ in range(1000):
        logger.warning("Invalid HTTP request received.")
        logger.error("refused\nfd=%d", 7)
    time.now += 59.9
    logger.warning("Invalid HTTP request received.")
    time.now += 0.1
    logger.warning("Invalid HTTP request received.")
    assert heard.lines == [
        "Invalid HTTP request received.",
        "refused\nfd=7",
        "Invalid HTTP request received.",
    ]
    assert budget.left_out == {"tests.library": 999 + 999 + 1}


def test_what_is_no_warning_passes(heard, logger):
    for _ in range(3):
        logger.info("Shutting down")
    assert heard.lines == ["Shutting down"] * 3


def test_ever_new_texts_count_as_one(heard, logger, time):
    for number in range(5000):
        time.now += 0.01
        logger.warning("unknown: " + str(number))  # noqa: G003 - as some libraries do
    assert 1 < len(heard.lines) <= 101


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio"])
def test_the_libraries_that_strangers_reach_are_seldom_heard(name, capfd):
    root, limited = logging.getLogger(), logging.getLogger(name)
    before = (root.handlers[:], root.level, limited.filters[:])
    try:
        configure_logging(Log())
        for _ in range(100):
            limited.warning("again")
    finally:
        root.handlers[:], limited.filters[:] = before[0], before[2]
        root.setLevel(before[1])
    assert len(capfd.readouterr().err.splitlines()) == 1
