"""./bench load compares only what was proved, and says of others' tables how they are not what they should be."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import psycopg
import pytest

from benchmarks.load import datasets, ratios
from benchmarks.load.contest import OWN, PRODUCT, PRODUCT_AT_ONCE, NotProved, compete
from benchmarks.load.datasets import Dataset
from benchmarks.load.meter import Cost, Server
from benchmarks.load.page import page
from benchmarks.load.peers import Loaded, Peer
from benchmarks.load.plot import bars
from benchmarks.load.results import Results
from local.postgres import throwaway_cluster


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with throwaway_cluster() as cluster:
        process = cluster.process()
        assert process is not None
        yield Server(cluster.dsn(), process)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    return datasets.tiny(3)


def peer(*statements: str, fails: str = "") -> Peer:
    """A loader that copies what psql would, and then does what these statements say."""

    def load(path: Path, server: Server, tables: Sequence[str], folder: Path) -> Loaded:
        rows = apsw.Connection(str(path))
        with psycopg.connect(server.dsn) as connection:
            for table in tables:
                found = list(rows.execute(f"SELECT * FROM {table}"))
                into = f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(found[0]))})".encode()
                connection.cursor().executemany(into, found)
            for statement in statements:
                connection.execute(statement.encode())
        done = {table: 0.5 for table in tables if table != fails}
        return Loaded(Cost(1.5, 1, 1), done, {fails: "it said why"} if fails else {})

    return Peer("pgloader", "as a test", load, lambda: "1.0")


def silent(_: str) -> None:
    pass


def told(dataset: Dataset, server: Server, *peers: Peer) -> str:
    results = Results("./bench load", {"date": "today"})
    results.contests["tiny"] = compete(dataset, server, peers, 1, silent)
    assert "</svg>" in bars(results)
    return page(results)


def test_product_and_limit_move_the_same_rows_and_have_a_ratio(dataset: Dataset, server: Server) -> None:
    contest = compete(dataset, server, [], 2, silent)
    assert {who: len(rounds) for who, rounds in contest.rounds.items()} == dict.fromkeys(OWN, 2)
    assert contest.rows == 3 * 18
    assert (ratios.against_limit(contest) or 0) > 0
    for done in (contest.rounds[PRODUCT][0], contest.rounds[PRODUCT_AT_ONCE][0]):
        assert min(done.load.seconds, done.finish.seconds, done.proof.seconds, done.start, done.load.client) > 0
        assert 50e6 < done.load.resident < 400e6
        assert set(done.by_table) == set(done.proof_by_table) == {"customers", "orders", "notes"}


def test_a_load_that_is_refused_has_no_ratio(dataset: Dataset, server: Server) -> None:
    connection = apsw.Connection(str(dataset.path))
    connection.execute("UPDATE notes SET body = CAST(x'ff' AS TEXT) WHERE id = 5")
    connection.close()
    with pytest.raises(NotProved, match="notes"):
        compete(dataset, server, [], 1, silent)


def test_another_loader_that_loads_the_same_rows_is_said_to(dataset: Dataset, server: Server) -> None:
    assert "what it loaded equals the proved rows" in told(dataset, server, peer())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("DELETE FROM orders WHERE id = 7", "orders (17 rows for 18)"),
        ("UPDATE customers SET name = upper(name) WHERE id = 7", "customers (other values)"),
    ],
)
def test_what_another_loader_loses_or_changes_is_said(dataset: Dataset, server: Server, fault: str, said: str) -> None:
    assert f"not as the source has it: {said}" in told(dataset, server, peer(fault))


def test_a_table_that_another_loader_cannot_load_is_left_out_of_its_ratio(dataset: Dataset, server: Server) -> None:
    page = told(dataset, server, peer(fails="notes"))
    assert "notes failed: it said why" in page
    (line,) = [line for line in page.splitlines() if line.startswith("| notes |")]
    assert line.endswith("| – |")
