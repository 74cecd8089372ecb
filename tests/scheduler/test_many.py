"""A database of hundreds of tables through the scheduler: how long it takes, and what a bad row among them says."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.engine.many import make_many
from tests.fresh import fresh_checkout, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    with fresh_checkout() as copy:
        yield copy


def test_three_hundred_tables_are_migrated_with_one_command(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_many(tmp_path / "many.db")
    began = time.monotonic()
    ended = run(checkout, str(source), "--accept")
    seconds = time.monotonic() - began
    assert ended.returncode == 0, ended.stdout + ended.stderr
    moments = re.findall(r"^ +([0-9.]+) s  (\S+): done", ended.stdout, re.MULTILINE)
    with capsys.disabled():
        print(
            f"\n300 tables: {moments[-1][0]} s in the scheduler, {seconds:.0f} s in all, the environment's setup included"
        )
    assert re.search("^300 tables +62,250 +62,250 +0 +498,000 ", ended.stdout, re.MULTILINE)
    assert sum(name.startswith("load.") for _, name in moments) < 30


def test_a_bad_row_in_one_of_many_tables_is_named_at_the_end(checkout: Path, tmp_path: Path) -> None:
    source = make_many(tmp_path / "some.db", tables=30, large=0)
    assert run(checkout, "assess", str(source)).returncode == 0
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE t007_of_many SET amount = 'much' WHERE id = 3")
    ended = run(checkout, str(source))
    assert ended.returncode == 1
    told = ended.stdout[ended.stdout.index("load.level_1_small failed:") :]
    assert "1 of 8 tables failed: t007_of_many" in told
    assert "table t007_of_many, column amount, key [3], value 'much'" in told
    asked = run(checkout, "psql", "-d", "some", "-qAtc", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert asked.stdout == "0\n"
