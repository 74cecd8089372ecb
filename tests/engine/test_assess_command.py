"""``python -m migration assess``: writes plan and report, or says in one sentence why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration import plan as plans
from migration.__main__ import main
from migration.plan import read_plan
from tests.engine.support import database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of plans."""
    made = tmp_path / "plans"
    made.mkdir()
    monkeypatch.setattr(plans, "PLANS", made)
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIGRATION_TARGET_DSN", raising=False)
    return made


@pytest.mark.parametrize("compiled", [False, True])
def test_it_writes_the_plan_and_prints_the_report(
    folder: Path,
    tmp_path: Path,
    target_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    compiled: bool,
) -> None:
    if compiled:
        monkeypatch.setenv("MIGRATION_TARGET_DSN", target_dsn)
    source = database(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    assert main(["assess", "--source", str(source), "--name", "mine"]) == 0
    assert read_plan(folder / "mine.yaml").source == str(source)
    assert "Grade   A" in capsys.readouterr().out
    assert (tmp_path / "home/assessments/mine/report.html").exists()


def test_a_plan_that_is_there_is_kept_until_it_shall_be_replaced(folder: Path, tmp_path: Path) -> None:
    source = database(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    command = ["assess", "--source", str(source)]
    assert main(command) == 0
    written = (folder / "shop.yaml").read_text()
    (folder / "shop.yaml").write_text(mine := written.replace("title: shop.db", "title: Mine"))
    assert main(command) == 0
    assert (folder / "shop.yaml").read_text() == mine
    assert main([*command, "--replace"]) == 0
    assert (folder / "shop.yaml").read_text() == written


def test_what_is_no_database_is_one_sentence_and_code_1(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, this is not a database.")
    assert main(["assess", "--source", str(tmp_path / "letter.db")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"SourceError: The source {tmp_path}/letter.db is not a SQLite database")
    assert not list(folder.iterdir())
