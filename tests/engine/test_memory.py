"""What a task has resident does not grow with the database: 250 MB are enough for any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.support import database

MOST = 250e6
RESIDENT = """
import sys
from pathlib import Path
from migration.__main__ import main

code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
sys.exit(code)
"""
PANDAS = """
import sys
from migration.__main__ import main

code = main(sys.argv[1:])
print("pandas" in sys.modules)
sys.exit(code)
"""


def last_line(script: str, home: Path, dsn: str, *arguments: str) -> str:
    """What a step, done by a process of its own, writes last."""
    places = {"MIGRATION_HOME": str(home), "MIGRATION_PLANS": str(home), "MIGRATION_TARGET_DSN": dsn}
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | places)
    return ended.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that is larger than what a task may have resident."""
    path = database(
        tmp_path_factory.mktemp("large") / "documents.db",
        "CREATE TABLE documents (id INTEGER PRIMARY KEY, body TEXT NOT NULL, facts TEXT, made TEXT NOT NULL)",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO documents SELECT i,"
        " hex(randomblob(2500)), json_object('n', i), strftime('%Y-%m-%dT%H:%M:%fZ', 1700000000 + i, 'unixepoch') FROM n",
    )
    assert path.stat().st_size > MOST
    return path


def test_no_step_has_more_resident_than_a_task_may(documents: Path, target_dsn: str, tmp_path: Path) -> None:
    def resident(*arguments: str) -> int:
        return int(last_line(RESIDENT, tmp_path, target_dsn, *arguments))

    run = ("--plan", "documents", "--run", "large")
    found = {
        "assess": resident("assess", "--source", str(documents)),
        "preflight": resident("preflight", *run, "--source", str(documents)),
        "backup": resident("backup", *run, "--source", str(documents)),
    }
    found |= {step: resident(step, *run) for step in ("create-schema", "load", "finish-schema", "verify", "report")}
    assert {step: octets for step, octets in found.items() if octets > MOST} == {}


def test_a_load_of_usual_values_does_without_pandas_which_takes_longer_to_import_than_a_small_load(
    target_dsn: str, tmp_path: Path
) -> None:
    kinds = {
        "id INTEGER PRIMARY KEY": "n",
        "price DECIMAL(8, 2)": "n / 4.0",
        "size REAL NOT NULL": "n / 3.0",
        "name VARCHAR(20)": "'row ' || n",
        "facts JSON": "json_object('n', n)",
        "made DATETIME": "datetime(n, 'unixepoch')",
        "at TEXT": "strftime('%Y-%m-%dT%H:%M:%f+02:00', n, 'unixepoch')",
        "day DATE": "date(n * 86400, 'unixepoch')",
        "seen_ms INTEGER": "1700000000000 + n",
        "open BOOLEAN": "n % 2",
        "octets BLOB": "randomblob(9)",
        "body TEXT": "CASE n WHEN 7 THEN hex(randomblob(40000)) ELSE 'short' END",
    }
    path = database(
        tmp_path / "usual.db",
        f"CREATE TABLE t ({', '.join(kinds)})",
        "WITH RECURSIVE s(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s WHERE n < 9000)"
        f" INSERT INTO t SELECT {', '.join(kinds.values())} FROM s UNION ALL SELECT 0, NULL, 0.5{', NULL' * 9}",
    )
    run = ("--plan", "usual", "--run", "usual", "--source", str(path))
    for step in (("assess", *run[4:]), ("preflight", *run), ("backup", *run), ("create-schema", *run[:4])):
        last_line(PANDAS, tmp_path, target_dsn, *step)
    plan = (tmp_path / "usual.yaml").read_text("utf-8")
    assert all(kind in plan for kind in ("numeric(8,2)", "jsonb", "timestamp", "date", "boolean", "bytea", "varchar"))
    assert last_line(PANDAS, tmp_path, target_dsn, "load", *run[:4]) == "False"
