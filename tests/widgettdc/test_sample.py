"""The sample database is the same for a seed, hostile to careless loaders, and migratable to its last row."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Numeric, SmallInteger, String, create_engine

from widgettdc import sample
from widgettdc.models import Base
from widgettdc.sample import DELETED_TAIL, ROWS, main, make_sample

TABLES = Base.metadata.tables
LIMITED = [
    (column.table.name, column.name, column.type.length)
    for table in TABLES.values()
    for column in table.columns
    if type(column.type) is String
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "widget-tdc.db"
    make_sample(path)
    return path


@pytest.fixture
def source(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection


def read(
    connection: sqlite3.Connection, query: str, values: Sequence[object] = (), **names: str
) -> list[tuple[Any, ...]]:
    """The rows of a query; {names} in it are put in as quoted identifiers."""
    quoted = {key: f'"{name}"' for key, name in names.items()}
    return connection.execute(query.format_map(quoted), values).fetchall()


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: read(connection, "SELECT count(*) FROM {t}", t=table)[0][0] for table in ROWS}


def test_the_same_seed_gives_the_same_content_and_another_seed_another(path: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "again.db")
    make_sample(tmp_path / "other.db", seed=2)
    assert content(tmp_path / "again.db") == content(path)
    assert content(tmp_path / "other.db") != content(path)


def test_scale_multiplies_the_rows_of_every_table(path: Path, tmp_path: Path) -> None:
    returned = make_sample(tmp_path / "three.db", scale=3)
    assert counts(path) == ROWS
    assert returned == counts(tmp_path / "three.db") == {table: 3 * count for table, count in ROWS.items()}


def test_the_source_has_the_columns_of_the_models_in_their_order(source: sqlite3.Connection) -> None:
    for table in TABLES.values():
        columns = source.execute('SELECT name, "notnull" OR pk FROM pragma_table_info(?)', [table.name])
        assert columns.fetchall() == [(column.name, not column.nullable) for column in table.columns]


def test_the_file_is_closed_in_wal_mode_and_sound(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    make_sample(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes()[18:20] == b"\x02\x02"  # the header's read and write version: 2 is WAL
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize(
    ("child", "column", "parent"),
    [
        ("memory_relations", "target_id", "memory_entities"),
        ("structured_facts", "doc_id", "raw_documents"),
        ("evolution_kpis", "decision_id", "decisions"),
    ],
)
def test_undeclared_references_point_at_rows(source: sqlite3.Connection, child: str, column: str, parent: str) -> None:
    declared = [row[3] for row in read(source, "PRAGMA foreign_key_list({child})", child=child)]
    assert column not in declared
    orphans = """
        SELECT {column} FROM {child} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM {parent})
    """
    assert read(source, orphans, child=child, column=column, parent=parent) == []


@pytest.mark.parametrize("table", ROWS)
def test_ids_have_gaps_and_the_newest_were_deleted(source: sqlite3.Connection, table: str) -> None:
    query = """
        SELECT count(*) < max(id), (SELECT seq FROM sqlite_sequence WHERE name = ?) >= max(id) + ?
        FROM {table}
    """
    assert read(source, query, [table, DELETED_TAIL], table=table) == [(1, 1)]


@pytest.mark.parametrize(("table", "column", "limit"), LIMITED)
def test_length_limits_are_reached_exactly_and_counted_in_characters(
    source: sqlite3.Connection, table: str, column: str, limit: int
) -> None:
    query = "SELECT max(length({column})), max(length(CAST({column} AS BLOB))) FROM {table}"
    assert read(source, query, table=table, column=column) == [(limit, 4 * limit)]


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("memory_entities", r"text = '\N'"),
        ("memory_entities", r"text = '\.'"),
        ("memory_entities", "text = ''"),
        ("memory_entities", "text <> trim(text)"),
        ("memory_entities", r"text LIKE '%\x41%'"),
        ("memory_entities", "text = 'NULL'"),
        ("memory_entities", "length(text) > 200000"),
        ("memory_entities", "text LIKE '%e' || char(0x301) || '%'"),
        ("memory_entities", "text LIKE '%' || char(0x202e) || '%'"),
        ("memory_entities", "text LIKE '%' || char(0x10ffff) || '%'"),
        ("memory_entities", "metadata IS NULL"),
        ("memory_entities", "metadata = 'null'"),
        ("memory_entities", "metadata LIKE '%9007199254740993%'"),
        ("memory_entities", "metadata LIKE '%1.5e-7%'"),
        ("memory_entities", r"metadata LIKE '%\ud83d\ude00%'"),
        ("memory_entities", "length(metadata) > 60000"),
        ("memory_entities", "created_at GLOB '????-??-??T??:??:??.???Z'"),
        ("memory_entities", "created_at GLOB '????-??-??T??:??:??.??????Z'"),
        ("memory_entities", "created_at GLOB '????-??-?? ??:??:??'"),
        ("memory_entities", "created_at GLOB '????-??-?? ??:??:??.??????'"),
        ("memory_entities", "created_at GLOB '????-??-??T??:??:??.??????+02:00'"),
        ("memory_entities", "created_at LIKE '2024-02-29%'"),
        ("memory_relations", "strength < 0"),
        ("raw_documents", "content LIKE '%' || char(13) || char(10) || '%'"),
        ("raw_documents", "content LIKE '%' || char(9) || '%'"),
        ("raw_documents", "content LIKE '%' || char(0x2028) || '%'"),
        ("raw_documents", "length(content) > 1000000"),
        ("raw_documents", "title IS NULL"),
        ("raw_documents", "title = ''"),
        ("structured_facts", "doc_id IS NULL"),
        ("evolution_kpis", "expected_value = 99999999.99"),
        ("evolution_kpis", "actual_value IS NULL"),
        ("evolution_kpis", "typeof(actual_value) = 'integer'"),
        ("evolution_kpis", "typeof(actual_value) = 'real'"),
        ("decisions", "description IS NULL"),
        ("decisions", "description = ''"),
    ],
)
def test_the_sample_holds_the_values_that_break_loaders(source: sqlite3.Connection, table: str, condition: str) -> None:
    query = f"SELECT count(*) > 0 FROM {table} WHERE {condition}"
    assert source.execute(query).fetchone() == (1,)


def test_numbers_fit_their_columns_without_rounding(source: sqlite3.Connection) -> None:
    for table in TABLES.values():
        for column in table.columns:
            rows = read(source, "SELECT {column} FROM {table}", column=column.name, table=table.name)
            values = [value for (value,) in rows]
            if isinstance(column.type, Numeric):
                limit = 10 ** ((column.type.precision or 0) - (column.type.scale or 0))
                assert all(v is None or (round(v, 2) == v and abs(v) < limit) for v in values)
            if isinstance(column.type, SmallInteger):
                assert (min(values), max(values)) == (-32768, 32767)


def test_spans_end_after_they_start(source: sqlite3.Connection) -> None:
    late = source.execute("SELECT count(*) FROM pal_focus_windows WHERE julianday(start_time) > julianday(end_time)")
    assert late.fetchone() == (0,)


def test_every_row_loads_into_the_models_tables_and_texts_and_integers_arrive_unchanged(
    source: sqlite3.Connection, target_dsn: str
) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(target_dsn))
    Base.metadata.create_all(engine)
    engine.dispose()
    with psycopg.connect(target_dsn, options="-c timezone=UTC") as target:
        for table in Base.metadata.sorted_tables:
            name = sql.Identifier(table.name)
            rows = read(source, "SELECT * FROM {table}", table=table.name)
            with target.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
                for row in rows:
                    copy.write_row(row)
            arrived = target.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(name)).fetchall()
            exact = [place for place, column in enumerate(table.columns) if column.type.python_type in (int, str)]
            assert [[row[place] for place in exact] for row in arrived] == [
                [row[place] for place in exact] for row in rows
            ]


def test_an_existing_file_is_refused_in_one_sentence_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"the only copy")
    with pytest.raises(SystemExit) as exit:
        main([str(path)])
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert message == f"{path} exists already: choose another path, or move that file away.\n"
    assert path.read_bytes() == b"the only copy"


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_a_journal_left_by_another_database_is_refused(tmp_path: Path, end: str) -> None:
    (tmp_path / f"app.db{end}").touch()
    with pytest.raises(FileExistsError, match=f"app.db{end} exists already"):
        make_sample(tmp_path / "app.db")


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEVELS", (object(),))  # SQLite cannot store it: the last table fails
    with pytest.raises(sqlite3.Error):
        make_sample(tmp_path / "app.db")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_database_and_says_what_is_in_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(sample.__file__).parents[1])}
    command = [sys.executable, "-m", "widgettdc.sample", "app.db", "--seed", "3", "--scale", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("app.db: 30,900 rows in 9 tables, seed 3\n")
    assert counts(tmp_path / "app.db") == ROWS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["app.db", "--scale", "0"], "scale must be 1 or more"), (["nowhere/app.db"], "is not a folder")],
)
def test_what_cannot_be_done_ends_with_status_2_and_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
