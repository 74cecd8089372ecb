"""Nothing that Airflow started outlives ./run, and nothing else is touched."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local import sessions
from local.files import ROOT

# A service that will not end when told, with a child in a process group of its own, as task processes are.
STUBBORN = """
trap '' TERM
sh -c 'trap "" TERM; echo $$; exec sleep 60' &
wait; wait; sleep 60
"""

GUARD = """
import sys
from pathlib import Path
from local import sessions
sessions.HOME = Path(sys.argv[1])
sessions.RECORD = sessions.HOME / "sessions.json"
sessions.guard(patience=0.2)
"""
STARTER = f"""
import subprocess, sys, time
guard = [sys.executable, "-c", {GUARD!r}, sys.argv[1]]
subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
print("guarded", flush=True)
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sessions, "HOME", tmp_path)
    monkeypatch.setattr(sessions, "RECORD", tmp_path / "sessions.json")
    return tmp_path


def service(folder: Path, script: str = STUBBORN) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        ["sh", "-c", script], cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    return process, int(process.stdout.readline())


def is_alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def test_what_does_not_end_when_told_is_killed_with_its_children(home: Path) -> None:
    process, child = service(home)
    sessions.record([process.pid])
    sessions.end_recorded(patience=0.2)
    assert process.wait() == -signal.SIGKILL
    assert not is_alive(child)
    assert not sessions.RECORD.exists()


def test_what_ends_when_told_is_not_killed(home: Path) -> None:
    process, _ = service(home, "trap 'exit 7' TERM; echo 0; while :; do sleep 0.05; done")
    sessions.record([process.pid])
    sessions.end_recorded(patience=10)
    assert process.wait() == 7


def test_a_stranger_that_now_has_the_number_is_left_alone(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    process, child = service(tmp_path_factory.mktemp("elsewhere"))
    sessions.record([process.pid])
    sessions.end_recorded(patience=0)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    os.kill(child, signal.SIGKILL) if is_alive(child) else None
    process.wait()


def test_the_guard_ends_everything_when_its_starter_was_killed(home: Path) -> None:
    process, child = service(home)
    sessions.record([process.pid])
    starter = subprocess.Popen([sys.executable, "-c", STARTER, home], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    assert starter.stdout.readline() == "guarded\n"
    starter.kill()
    assert process.wait(timeout=20) == -signal.SIGKILL
    assert not is_alive(child)
    starter.communicate()
