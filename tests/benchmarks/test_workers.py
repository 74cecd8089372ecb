"""The forecast for more workers: each bound by itself, in the order in which they are met."""

from benchmarks.load.workers import Table, forecast, lines, saturation

TABLE = Table("t", client=4, server=2, octets=100)
"""A quarter of a million rows per second and worker, half a million per core of the server."""


def test_workers_add_up_until_the_servers_cores_are_full() -> None:
    found = [forecast(TABLE, workers, cores=2, network=1e12) for workers in (1, 2, 4, 8)]
    assert [one.rows for one in found] == [250_000, 500_000, 1_000_000, 1_000_000]
    assert [one.bound for one in found] == ["clients", "clients", "clients", "server's cores"]
    assert saturation(TABLE, 2, 1e12) == 4


def test_a_worker_is_no_faster_than_its_backend() -> None:
    assert forecast(Table("t", client=1, server=2, octets=100), 1, 8, 1e12).bound == "backends"


def test_the_network_bounds_rows_by_their_bytes() -> None:
    found = forecast(TABLE, 32, cores=32, network=70e6)
    assert (found.rows, found.bound) == (700_000, "network")
    assert saturation(TABLE, 32, 70e6) == 3


def test_a_measured_load_gives_the_costs_of_a_million_rows() -> None:
    assert Table.measured("t", 500_000, 50_000_000, client=2, server=1) == TABLE
    assert len(list(lines([TABLE]))) == 6
