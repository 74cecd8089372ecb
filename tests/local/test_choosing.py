"""Which plan ./run goes by, and what it does with a database that has none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import yaml

from local import choosing
from local.choosing import Work, choose, confirmed, goes_on, is_written, read, tables_of
from local.command import connections, source_of
from local.files import LocalError
from local.target import Target
from migration import plan as plans
from migration.assess import Assessment
from migration.plan import plan_path
from tests.engine.many import many_plan

WIDGETS = {"memory_entities", "memory_relations", "memory_tags", "raw_documents", "structured_facts"}
TARGET = Target("127.0.0.1", 5432, "u", "p", "d")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plans that has WidgetTDC's alone."""
    made = tmp_path / "plans"
    made.mkdir()
    (made / "widgettdc.yaml").write_text(plan_path("widgettdc").read_text())
    monkeypatch.setattr(plans, "PLANS", made)
    return made


def write(folder: Path, source: Path, name: str) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(many_plan(source, name, tables=2)))


def test_half_of_widgettdcs_tables_make_a_database_widgettdcs(folder: Path) -> None:
    assert choose(Path("/a/app.db"), WIDGETS | {"more"}) == "widgettdc"
    assert choose(Path("/a/app.db"), WIDGETS - {"memory_tags"}) == "app"
    assert choose(Path("/a/app.db"), WIDGETS, name="other") == "other"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Shop.DB", "shop"),
        ("my app-2.sqlite3", "my_app_2"),
        ("2024.db", "db_2024"),
        ("日本.db", "db"),
        ("x" * 60, "x" * 40),
    ],
)
def test_a_plan_is_named_after_its_file(folder: Path, file: str, name: str) -> None:
    assert choose(Path("/a", file), set()) == name
    assert not is_written(name)


def test_the_plan_of_this_very_file_is_used_as_it_stands(folder: Path) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    assert choose(Path("/a/shop.db"), set()) == "shop"
    assert is_written("shop")


def test_the_plan_of_another_file_is_never_used_nor_overwritten(folder: Path) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    for chosen in ({}, {"name": "shop"}, {"plan": "shop"}):
        with pytest.raises(LocalError, match=r"The plan shop is .* for /a/shop.db, not for /b/shop.db.*--name"):
            choose(Path("/b/shop.db"), set(), **chosen)
    with pytest.raises(LocalError, match="is for widgettdc_source"):
        choose(Path("/b/widgettdc.db"), set())


def test_a_plan_by_hand_must_exist_and_takes_any_file_when_it_names_a_connection(folder: Path) -> None:
    assert choose(Path("/b/some.db"), set(), plan="widgettdc") == "widgettdc"
    with pytest.raises(LocalError, match="There is no plan shop; there are widgettdc.") as refused:
        choose(Path("/b/some.db"), set(), plan="shop")
    assert refused.value.status == 2


def test_a_plan_that_cannot_be_read_is_one_sentence(folder: Path) -> None:
    (folder / "shop.yaml").write_text("name: [")
    with pytest.raises(LocalError, match="The plan shop.yaml is not valid YAML"):
        choose(Path("/a/shop.db"), set())


def test_without_a_file_the_plans_own_is_taken(folder: Path) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    assert source_of("shop") == Path("/a/shop.db")


def test_connections_are_those_that_the_plan_names(folder: Path) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    assert set(connections(Work(read("shop"), Path("/a/shop.db"), TARGET))) == {"shop_target", "migration_target"}
    widgets = connections(Work(read("widgettdc"), Path("/a/w.db"), TARGET))
    assert widgets["widgettdc_source"]["host"] == "/a/w.db"
    assert widgets["widgettdc_target"] == widgets["migration_target"]


@pytest.mark.parametrize(
    ("grade", "accept", "goes"),
    [("A", False, True), ("B", False, False), ("B", True, True), ("C", False, False), ("C", True, False)],
)
def test_a_person_is_asked_unless_there_is_nothing_to_decide_or_the_proposals_are_taken(
    folder: Path, capsys: pytest.CaptureFixture[str], grade: str, accept: bool, goes: bool
) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    found = Assessment(read("shop"), folder / "shop.yaml", False, grade, "", ("decide",), {})
    assert goes_on(found, accept=accept) is goes
    said = capsys.readouterr().out
    assert goes or ("Nothing was migrated yet" in said and "set `confirmed: true` there" in said)


def test_a_plan_with_decisions_to_confirm_waits_until_somebody_has(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, Path("/a/shop.db"), "shop")
    assert confirmed("shop")
    path = folder / "shop.yaml"
    path.write_text(f"confirmed: false\n{path.read_text()}")
    assert not confirmed("shop")
    assert "nobody has confirmed the plan yet. Look for TO CONFIRM in " in capsys.readouterr().out


def bad_files(folder: Path) -> dict[str, Path]:
    """A file for each way in which a file is no sound database."""
    found = {name: folder / f"{name}.db" for name in ("missing", "zero", "text", "encrypted", "truncated", "corrupt")}
    with closing(sqlite3.connect(folder / "good.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        connection.executemany("INSERT INTO t (v) VALUES (?)", [("v" * 100,)] * 1000)
    good = (folder / "good.db").read_bytes()
    found["zero"].write_bytes(b"")
    found["text"].write_text("Dear reader, this is not a database. " * 100)
    found["encrypted"].write_bytes(bytes(range(255, -1, -1)) * 64)
    found["truncated"].write_bytes(good[: len(good) // 2])
    found["corrupt"].write_bytes(good[: 4096 * 3] + b"\xff" * 4096 + good[4096 * 4 :])
    return found | {"folder": folder}


def test_what_is_no_sound_database_is_one_sentence(tmp_path: Path) -> None:
    words = {
        "missing": "There is no file",
        "zero": "is empty (zero bytes)",
        "text": "is not a SQLite database",
        "encrypted": "it is encrypted",
        "truncated": "malformed",
        "corrupt": "malformed",
        "folder": "is not a file",
    }
    for kind, path in bad_files(tmp_path).items():
        with pytest.raises(LocalError) as refused:
            tables_of(path)
        assert words[kind] in str(refused.value)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert refused.value.status == 1


def test_a_locked_database_names_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migration.sqlite.opening.BUSY_SECONDS", 0.1)
    path = tmp_path / "a.db"
    with closing(apsw.Connection(str(path))) as writer:  # one SQLite in one process sees its own locks
        writer.execute("CREATE TABLE t (id); BEGIN EXCLUSIVE")
        with pytest.raises(LocalError, match="another process holds a lock"):
            tables_of(path)


def test_tables_that_are_only_in_the_wal_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE OnlyThere (id)")
        assert path.stat().st_size == 4096
        assert tables_of(path) == {"onlythere"}


def test_the_folder_for_copies_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr(choosing, "MIGRATION_HOME", home)
    with pytest.raises(LocalError, match="There is no file"):
        choosing.assessed(tmp_path / "missing.db", "missing", TARGET)
    assert home.stat().st_mode & 0o777 == 0o700
