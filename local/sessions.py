"""Ends every process of the sessions that Airflow's services run in, also when ./run itself was killed.

Started as a program it is the guard: it waits for its standard input to close, which happens when the ./run
at the other end ends in whatever way, and then ends what is left. The kernel's signal on a parent's death
would not do: the scheduler, told to end, waits for the tasks that run.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from local.files import LOCAL, write_private

HOME = LOCAL / "airflow"
RECORD = HOME / "sessions.json"


def record(sessions: list[int]) -> None:
    """Remember these sessions, so that any later process can end them."""
    write_private(RECORD, json.dumps(sessions))


def end_recorded(patience: float) -> None:
    """Tell the first process of each session to end; after `patience` seconds kill what is left."""
    if not RECORD.exists():
        return
    sessions = set(json.loads(RECORD.read_text()))
    for process in members_of(sessions):
        if process in sessions:
            signal_to(process, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while members := list(members_of(sessions)):
        if time.monotonic() > deadline:
            for process in members:
                signal_to(process, signal.SIGKILL)
        time.sleep(0.05)
    RECORD.unlink(missing_ok=True)


def members_of(sessions: set[int]) -> Iterator[int]:
    """The live processes of these sessions that work in Airflow's folder.

    The folder makes sure that a session's number, in use again since, hits no stranger.
    """
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and int(session) in sessions and (entry / "cwd").readlink() == HOME:
                yield int(entry.name)
        except (OSError, ValueError):
            continue  # not a process, or one that has ended meanwhile


def signal_to(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def guard(patience: float) -> None:
    """Wait until the process at the other end of standard input is gone, then end what it left."""
    sys.stdin.read()
    end_recorded(patience)


if __name__ == "__main__":
    guard(patience=3)
