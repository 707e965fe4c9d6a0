"""Whether a configuration can hold what `check` hears."""

import pytest
from oracle.messages import metric, payload
from support.check_cases import mapping

from consumer.check.traffic import Traffic, capacity
from consumer.config import parse


def heard(values, seconds=1.0):
    traffic = Traffic()
    traffic.values, traffic.messages, traffic.seconds = values, values, seconds
    return traffic


def warnings(tmp_path, *traffic, spool="64GiB", **zerobus):
    config = mapping(tmp_path, **zerobus)
    config["spool"]["max_bytes"] = spool
    return [finding.line() for finding in capacity(parse(config), traffic)]


def data(*names):
    return payload(*(metric(name, 10, double_value=1.0) for name in names))


# What counts


@pytest.mark.parametrize("topic", ["spBv1.0/G/NDATA/E", "spBv1.0/G/DDATA/E/D"])
def test_the_values_of_data_count(topic):
    traffic = Traffic()
    traffic.count(topic, data("a", "b"))
    traffic.count(topic, data())
    assert (traffic.messages, traffic.values) == (2, 2)


@pytest.mark.parametrize(
    ("topic", "content"),
    [
        ("spBv1.0/G/NBIRTH/E", data("a")),
        ("spBv1.0/G/DBIRTH/E/D", data("a")),
        ("spBv1.0/G/NDEATH/E", data("a")),
        ("spBv1.0/G/NCMD/E", data("a")),
        ("spBv1.0/STATE/host", b'{"online":true}'),
        ("something/else", data("a")),
        ("", data("a")),
        ("spBv1.0/G/NDATA/E", b"\xff\xff\xff"),
    ],
)
def test_nothing_else_counts(topic, content):
    traffic = Traffic()
    traffic.count(topic, content)
    assert (traffic.messages, traffic.values) == (0, 0)


def test_the_values_of_a_giant_are_not_counted():
    traffic = Traffic()
    traffic.count("spBv1.0/G/NDATA/E", data("a") * 60_000)
    assert (traffic.messages, traffic.values) == (1, 0)


def test_a_rate_is_of_the_time_of_listening():
    assert heard(3000, 2.0).per_second == 1500
    assert Traffic().per_second == 0


# What is too little


def test_what_fits_is_not_spoken_of(tmp_path):
    assert warnings(tmp_path, heard(90_000)) == []
    assert warnings(tmp_path) == []


def test_the_values_of_all_servers_need_streams_enough(tmp_path):
    [warning] = warnings(tmp_path, heard(90_000), heard(90_000, 2.0))
    assert warning.startswith("warn zerobus  135,000 values/s are more than 1 stream ")
    assert "set zerobus.streams to 2" in warning
    assert warnings(tmp_path, heard(90_000), heard(90_000, 2.0), streams=2) == []


def test_the_spool_lasts_for_an_hour(tmp_path):
    [warning] = warnings(tmp_path, heard(10_000), spool="1GiB")
    assert warning.startswith("warn spool  1GiB last for an outage of some 18 minutes ")
    assert "set spool.max_bytes to 4GiB" in warning
    assert warnings(tmp_path, heard(10_000), spool="4GiB") == []
