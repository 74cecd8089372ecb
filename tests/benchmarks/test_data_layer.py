"""The benchmark of the data layer: both sides do the same, and what is wrong is not turned into a number."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import apsw
import psycopg
import pytest

from benchmarks.__main__ import main
from benchmarks.data_layer import command
from benchmarks.data_layer.choosing import Chooser
from benchmarks.data_layer.clients import Call, Outcome, Together, clients
from benchmarks.data_layer.concurrent import Throughput, measure_together
from benchmarks.data_layer.load import WARM, Held, Load, balance, held, measure_load
from benchmarks.data_layer.operations import (
    BY_ID,
    COUNT,
    DELETE,
    INGEST,
    OPERATIONS,
    READS,
    SEARCHES,
    WRITES,
    Operation,
)
from benchmarks.data_layer.page import PAGE, page, plots
from benchmarks.data_layer.places import Places, filled
from benchmarks.data_layer.results import OfSize, Results, read
from benchmarks.data_layer.sides import (
    BASELINE,
    DRIVER,
    INDEXED,
    POSTGRES,
    POSTGRES_RELAXED,
    ROUND_TRIP,
    SQLITE,
    SQLITE_DEFERRED,
    SQLITE_RELAXED,
    open_side,
)
from benchmarks.data_layer.single import AnswersDiffer, Measured, measure
from benchmarks.data_layer.world import World
from benchmarks.pages import duration, times
from tests.conftest import Server

WORLD = World(400)


@pytest.fixture(scope="module")
def places(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with filled(WORLD, tmp_path_factory.mktemp("bench"), postgres_server.admin) as places:
        yield places


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    return Chooser(WORLD, 1)


def test_both_sides_hold_the_same_rows(places: Places) -> None:
    source = apsw.Connection(str(places.sqlite))
    with psycopg.connect(places.postgres) as target, psycopg.connect(places.baseline) as baseline:
        for table, rows in places.rows.items():
            counted = f"SELECT count(*), max(id) FROM {table}"
            found = source.execute(counted).fetchall()
            assert found == target.execute(counted.encode()).fetchall() == baseline.execute(counted.encode()).fetchall()
            assert found[0][0] == rows > 0
    assert source.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    source.close()


def test_every_operation_gives_the_same_answers_on_every_side(
    places: Places, chooser: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.data_layer.single.WRITES_A_ROUND", 3)
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(closing(open_side(name, places)))
            for name in (SQLITE, POSTGRES, BASELINE, INDEXED)
        }
        for operation in (*READS, *WRITES):
            measured = measure(operation, sides, chooser, rounds=1, seconds=0.001)
            assert set(measured.faster) == set(sides)
            assert measured.faster[SQLITE] == 1
    assert len(OPERATIONS) == len(READS) + len(WRITES)


def test_no_ratio_is_made_of_different_answers(places: Places, chooser: Chooser) -> None:
    with psycopg.connect(places.postgres) as target:
        target.execute("UPDATE raw_documents SET content = content || '.'")
    documents = OPERATIONS["document by id"]
    with (
        closing(open_side(SQLITE, places)) as sqlite,
        closing(open_side(POSTGRES, places)) as postgres,
        pytest.raises(AnswersDiffer, match=r"document by id \(\(\d+,\), {}\):\n  SQLite: .*\n  PostgreSQL: "),
    ):
        measure(documents, {SQLITE: sqlite, POSTGRES: postgres}, chooser, rounds=1, seconds=0.001)
    with clients(8) as processes, closing(open_side(SQLITE, places)) as sqlite:
        alone = measure(documents, {SQLITE: sqlite, POSTGRES: sqlite}, chooser, rounds=1, seconds=0.001)
        with pytest.raises(AnswersDiffer, match="document by id, 8 clients: .* gave different answers"):
            measure_together(documents, (SQLITE, POSTGRES), places, chooser, processes, alone, rounds=1, seconds=0.001)


def test_what_many_clients_did_is_held_against_the_tables(places: Places, chooser: Chooser) -> None:
    before = {side: held(side, places) for side in (SQLITE, POSTGRES)}
    with clients(4) as processes:
        load = measure_load(places, chooser, processes, 4, calls=40, rounds=1, patience=30)
    assert all(one.calls == 160 and one.throughput > 0 for one in load)
    assert [(one.lost, one.astray) for one in load] == [(0, 0)] * 5
    assert not any(one.errors for one in load if one.side != SQLITE_DEFERRED)
    for side, earlier in before.items():
        assert held(side, places).counted > earlier.counted


def test_a_lost_update_and_a_lost_row_are_found() -> None:
    names = [BY_ID.name] * WARM + [COUNT.name, COUNT.name, COUNT.name, INGEST.name, DELETE.name, DELETE.name]
    work: list[list[Call]] = [[(name, ((), {})) for name in names]]
    told = Together([Outcome(0, 1, [0.1] * 6, ["", "", "BusyError", "", "", ""], [])])
    assert balance(work, told, Held(10, 5), Held(9, 7)) == (0, 0)
    assert balance(work, told, Held(10, 5), Held(9, 6)) == (1, 0)
    assert balance(work, told, Held(10, 5), Held(10, 7)) == (0, 1)
    assert balance(work, told, Held(10, 5), Held(8, 7)) == (0, 1)


def test_a_client_that_cannot_work_is_told_of(places: Places) -> None:
    with clients(1) as processes, pytest.raises(RuntimeError, match="A client failed: .*'nothing'"):
        processes.run(SQLITE, places, [[("nothing", ((), {}))]], warm=0, patience=1)


def results() -> Results:
    """Each search on PostgreSQL takes half of SQLite's time, everything else twice as long."""
    sides = (SQLITE, POSTGRES, BASELINE, INDEXED, SQLITE_RELAXED, POSTGRES_RELAXED, DRIVER, ROUND_TRIP)

    def measured(operation: Operation) -> Measured:
        factor = 2.0 if operation in SEARCHES else 0.5
        return Measured(operation.name, dict.fromkeys(sides, 0.001), dict.fromkeys(sides, factor), 1.1)

    load = [
        Load(1_000, clients, side, 100.0, 0.001, 0.002, 0.003, 0.004, 50, {"BusyError": 1} if clients > 1 else {}, 0, 0)
        for clients in (1, 4)
        for side in (SQLITE, POSTGRES)
    ]
    sizes = [
        OfSize(
            memories,
            5 * memories,
            "0009",
            dict.fromkeys((SQLITE, BASELINE, POSTGRES), 10**7),
            [measured(each) for each in (*READS, *WRITES)],
            [measured(each) for each in WRITES],
            [
                Throughput(each.name, dict.fromkeys(sides, 10.0), dict.fromkeys(sides, 0.5))
                for each in (*READS, *WRITES)
            ],
        )
        for memories in (1_000, 2_000)
    ]
    return Results("./bench data-layer --try", {"machine": "a quick one"}, sizes, load, 0)


def test_the_page_says_of_every_operation_which_side_is_faster() -> None:
    text = page(results())
    for operation in OPERATIONS.values():
        factor = "× 2.00" if operation in SEARCHES else "÷ 2.00"
        cell = f"**{factor}** 1.00 ms → 1.00 ms"
        assert f"| {operation.name} | {cell} | {cell} |\n" in text
    assert "Faster: search: absent word × 2.00; search: common word × 2.00; search: rare word × 2.00. Slower: " in text
    assert "| SQLite | 4 | 100 | 1.00 ms | 2.00 ms | 3.00 ms | 4.00 ms | 1 of 50: BusyError | 0 | 0 |" in text
    assert "revision 0009" in text
    assert "| machine | a quick one |" in text


def test_the_page_shows_its_plots_which_are_xml() -> None:
    text, drawn = page(results()), plots(results())
    assert len(drawn) == 3
    for name, drawing in drawn.items():
        assert f"]({name})" in text
        assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_without_equal_answers_nothing_is_printed_or_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> Results:
        raise AnswersDiffer("memory by id")

    monkeypatch.setattr(command, "run", fail)
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    assert main(["data-layer", "--write"]) == 1
    assert capsys.readouterr() == ("", "No ratio, since the answers differ.\nmemory by id\n")
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_are_kept_as_they_were_measured(tmp_path: Path) -> None:
    results().write(tmp_path / "measured.json")
    assert read(tmp_path / "measured.json") == results()


def test_the_page_and_its_plots_are_those_of_the_numbers_that_were_kept() -> None:
    assert PAGE.read_text("utf-8") == page(read())
    for name, drawing in plots(read()).items():
        assert PAGE.with_name(name).read_text("utf-8") == drawing


def test_the_command_writes_the_page_and_its_plots(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "run", lambda *_: results())
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(Results, "write", lambda _: None)
    assert main(["data-layer"]) == 0
    assert capsys.readouterr().out.startswith("# The data layer: SQLite against PostgreSQL\n")
    assert list(tmp_path.iterdir()) == []
    assert main(["data-layer", "--write"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"page.md", *plots(results())}


def test_an_unknown_subcommand_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "data-layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("factor", "told"), [(3.0, "× 3.00"), (1.0, "× 1.00"), (0.05, "÷ 20.0"), (123.4, "× 123"), (9.96, "× 10.0")]
)
def test_a_ratio_says_which_side_is_faster(factor: float, told: str) -> None:
    assert times(factor) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0000012, "1.20 µs"), (0.0009996, "1.00 ms"), (0.0123, "12.3 ms"), (2.5, "2.50 s")]
)
def test_a_duration_has_three_digits(seconds: float, told: str) -> None:
    assert duration(seconds) == told
