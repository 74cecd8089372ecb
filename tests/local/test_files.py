"""Locks and secrets that several processes share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.files import ROOT, LocalError, Secrets, locked, require_folder

ASKER = """
import sys
from pathlib import Path
from local.files import Secrets
print(Secrets(Path(sys.argv[1])).get("password"))
"""
HOLDER = """
import sys
from pathlib import Path
from local.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_secret_is_generated_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = Secrets(path).get("password")
    assert len(first) >= 32
    assert Secrets(path).get("password") == first
    assert Secrets(path).get("other") != first
    assert path.stat().st_mode & 0o777 == 0o600


def test_processes_that_ask_for_the_same_secret_at_once_get_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    command = [sys.executable, "-c", ASKER, str(path)]
    asked = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate()[0].strip() for process in asked}
    assert answers == {json.loads(path.read_text())["password"]}


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"

    def refuse() -> None:
        raise LocalError("taken")

    with pytest.raises(LocalError, match="taken"), locked(path, refuse):
        pass
    holder.kill()
    holder.communicate()
    with locked(path, refuse):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="file/folder cannot be made"):
        require_folder(tmp_path / "file" / "folder")
