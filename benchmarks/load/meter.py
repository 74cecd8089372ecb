"""What work costs: time, CPU of client and server, resident memory, bytes of WAL."""

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

TICK = os.sysconf("SC_CLK_TCK")
EVERY = 0.05
"""Seconds between two looks at the memory of a process."""
TOLD = 240
"""So many characters of the output of a process that failed are told."""


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of CPU; resident bytes at most, and bytes of WAL."""

    seconds: float
    client: float
    server: float
    resident: int = 0
    wal: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.seconds + other.seconds,
            self.client + other.client,
            self.server + other.server,
            max(self.resident, other.resident),
            self.wal + other.wal,
        )


class Failed(Exception):
    """A program did not do what it was to do; the message is what it said last."""


@dataclass(frozen=True)
class Server:
    """The server that is measured: a superuser's connection string for a database, and the postmaster's process."""

    dsn: str
    process: int

    def seconds(self) -> float:
        """CPU of the server's processes so far, of those that have ended too."""
        own = _times(self.process)
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return (sum(own) + sum(sum(_times(int(child))[:2]) for child in children)) / TICK

    def wal(self) -> int:
        """Bytes of WAL written so far."""
        with psycopg.connect(self.dsn) as connection:
            return int(connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchall()[0][0])

    def calm(self) -> None:
        """Write out what earlier work left, so that none of it is charged to the next."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


def _times(process: int) -> tuple[int, int, int, int]:
    """Ticks of user and system time of a process, and of its children that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0, 0, 0
    user, system, of_children, of_their_system = map(int, fields[11:15])
    return user, system, of_children, of_their_system


def _own() -> float:
    """CPU of this process, and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def measured(server: Server, cost: Callable[[Cost], None]) -> Iterator[None]:
    """Give ``cost`` what the block costs in this process, its children and the server.

    Memory is counted from its beginning, and is that of the one process that has most.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's high-water mark starts anew
    wal, of_server, began = server.wal(), server.seconds(), time.monotonic()
    own = _own()
    yield
    seconds, client = time.monotonic() - began, _own() - own
    resident = max(high_water(os.getpid()), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    cost(Cost(seconds, client, server.seconds() - of_server, resident, server.wal() - wal))


def high_water(process: int) -> int:
    """Resident bytes of a process at most; 0 when there is none."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def run(
    command: Sequence[str | Path],
    server: Server,
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
    patience: float = 900,
) -> tuple[Cost, str]:
    """Run a program to its end: its cost, its children's included, and what it wrote. Raises Failed."""
    wal, of_server, began = server.wal(), server.seconds(), time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if environment is None else {**os.environ, **environment},
        cwd=folder,
        text=True,
        errors="replace",
        start_new_session=True,  # what it sends to its group is not for this process
    )
    try:
        with _watched(process.pid) as peaks, _ended_after(process, patience):
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it and its children do not outlive this
        raise
    if process.returncode:
        raise Failed(f"exit {process.returncode}: {' '.join(output.split())[-TOLD:]}")
    client = usage.ru_utime + usage.ru_stime
    return Cost(seconds, client, server.seconds() - of_server, sum(peaks.values()), server.wal() - wal), output


@contextmanager
def _ended_after(process: subprocess.Popen[str], patience: float) -> Iterator[None]:
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _watched(process: int) -> Iterator[dict[int, int]]:
    """The most that a process and its children had resident, each, as seen every so often."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            for one in _family(process):
                peaks[one] = max(peaks.get(one, 0), high_water(one))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [process, *(one for child in children for one in _family(int(child)))]
