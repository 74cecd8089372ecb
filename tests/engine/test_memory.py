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
    places = {"MIGRATION_HOME": str(tmp_path), "MIGRATION_PLANS": str(tmp_path), "MIGRATION_TARGET_DSN": target_dsn}

    def resident(*arguments: str) -> int:
        command = [sys.executable, "-c", RESIDENT, *arguments]
        ended = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | places)
        return int(ended.stdout.splitlines()[-1])

    run = ("--plan", "documents", "--run", "large")
    found = {
        "assess": resident("assess", "--source", str(documents)),
        "preflight": resident("preflight", *run, "--source", str(documents)),
        "backup": resident("backup", *run, "--source", str(documents)),
    }
    found |= {step: resident(step, *run) for step in ("create-schema", "load", "finish-schema", "verify", "report")}
    assert {step: octets for step, octets in found.items() if octets > MOST} == {}
