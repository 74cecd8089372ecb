"""The report's files: whole or absent, documented, for their owner only; and the restore they describe."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migration import report
from migration.errors import TransientError
from migration.job import Job
from migration.postgres import state
from tests.engine.crafted import (
    BEGAN,
    PLAN,
    RUN,
    Connection,
    gathered,
    hostile_report,
    prepared,
    put_run,
    put_whole_run,
)


@pytest.fixture
def target(target_dsn: str) -> Iterator[Connection]:
    with prepared(target_dsn) as connection:
        yield connection


def job(home: Path, dsn: str) -> Job:
    return Job(plan=PLAN, run_id=RUN, target=dsn, source=Path("/data/shop.db"), home=home)


def test_producing_writes_both_files_for_their_owner_only_and_again_over_themselves(
    target: Connection, target_dsn: str, tmp_path: Path
) -> None:
    put_whole_run(target, status="running", cut_over_at=None)
    work = job(tmp_path, target_dsn)
    facts, decided, html = report.produce(work, target)
    assert (facts.run_id, decided.success, html.parent) == (
        RUN,
        False,
        tmp_path / "reports" / work.folder.name,
    )
    state.update(target, state.runs, {"status": "cut_over", "cut_over_at": BEGAN}, run_id=RUN)
    facts, decided, again = report.produce(work, target)
    assert (decided.success, again) == (True, html)
    assert sorted(p.name for p in html.parent.iterdir()) == ["report.html", "report.json"]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in html.parent.iterdir())
    assert html.read_text(encoding="utf-8") == report.as_html(facts)
    kept = json.loads(html.with_suffix(".json").read_text(encoding="ascii"))
    assert (kept["format"], kept["verdict"]["success"], kept["balance"]["holds"]) == (1, True, True)
    assert [t["name"] for t in kept["tables"]] == list(PLAN.tables)


def test_a_file_that_cannot_be_written_leaves_the_former_one_whole(
    target: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_whole_run(target)
    facts = gathered(target)
    html, _ = report.write_files(facts, tmp_path)
    former = html.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TransientError, match="No space left on device"):
        report.write_files(facts, tmp_path)
    assert html.read_bytes() == former
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_what_a_killed_attempt_left_is_removed(target: Connection, tmp_path: Path) -> None:
    put_whole_run(target)
    (tmp_path / ".report.html-k1ll3d").write_text("half of a page")
    report.write_files(gathered(target), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_every_key_of_the_json_is_documented(target: Connection) -> None:
    facts = json.loads(report.as_json(hostile_report(target)))
    documented = set(re.findall(r"``(\w+)``", report.files.__doc__ or ""))
    free = ("params", "approval", "live_before")

    def keys(part: Any) -> Iterator[str]:
        for inner in part if isinstance(part, list) else ():
            yield from keys(inner)
        for name, inner in part.items() if isinstance(part, dict) else ():
            yield name
            yield from keys(inner) if name not in free else ()

    assert set(keys(facts)) - documented == set()


@pytest.mark.parametrize("name", ["shop.db", "a b'c\"$(touch x)`.db", "line\nfeed \x1b[0m\\.db", "-rf.db", "日本.db"])
def test_the_restore_command_brings_the_snapshot_back_and_overwrites_nothing(
    target: Connection, tmp_path: Path, name: str
) -> None:
    snapshot, source = tmp_path / f"snapshot-{name}", tmp_path / name
    with sqlite3.connect(snapshot) as database:
        database.execute("CREATE TABLE t AS SELECT 42 AS answer")
    digest = subprocess.run(["sha256sum"], input=snapshot.read_bytes(), capture_output=True, check=True).stdout.split()[
        0
    ]
    put_run(target, source=str(source), snapshot={"path": str(snapshot), "sha256": digest.decode(), "bytes": 1})
    command = ["bash", "-c", report.as_text(gathered(target)).split("writes over nothing)")[1]]
    assert subprocess.run(command, capture_output=True).returncode == 0
    restored = tmp_path / f"{name}.restored"
    with sqlite3.connect(restored) as database:
        assert database.execute("SELECT answer FROM t").fetchall() == [(42,)]
    assert subprocess.run(command, capture_output=True).returncode != 0
    restored.unlink()
    snapshot.write_bytes(b"changed")
    assert subprocess.run(command, capture_output=True).returncode != 0
    assert not restored.exists()
