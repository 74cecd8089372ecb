"""Many clients, each a process with a connection of its own.

Processes and not threads: Python runs one thread at a time, and SQLite does its work in the caller's thread, so that
threads would slow down the two sides unequally. All clients get their calls beforehand and begin at the same moment.
"""

import gc
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import TypeAlias

from benchmarks.data_layer.operations import OPERATIONS, Arguments
from benchmarks.data_layer.places import Places
from benchmarks.data_layer.sides import Side, open_side

Call: TypeAlias = tuple[str, Arguments]
"""An operation's name and its arguments."""


@dataclass(frozen=True)
class Outcome:
    """What a client did: when it began and ended, and of each call its seconds and its error's name, or ''."""

    began: float
    ended: float
    seconds: list[float]
    errors: list[str]
    answers: list[bytes]
    """A hash of each answer."""


@dataclass(frozen=True)
class Together:
    """What all clients did at once."""

    outcomes: list[Outcome]

    @property
    def seconds(self) -> float:
        """From the first one's beginning to the last one's end."""
        return max(each.ended for each in self.outcomes) - min(each.began for each in self.outcomes)

    @property
    def latencies(self) -> list[float]:
        """Of all calls, the shortest first."""
        return sorted(taken for each in self.outcomes for taken in each.seconds)

    @property
    def throughput(self) -> float:
        """Calls in a second; those that failed do not count."""
        return (len(self.latencies) - self.errors.total()) / self.seconds

    @property
    def errors(self) -> Counter[str]:
        return Counter(error for each in self.outcomes for error in each.errors if error)


class Clients:
    """Processes that wait for work."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def run(
        self, side: str, places: Places, calls: Sequence[Sequence[Call]], *, warm: int, patience: float
    ) -> Together:
        """Let a client for each list of calls do them, all at once.

        The first `warm` calls of each are not counted. A client makes no further call after `patience` seconds.
        """
        pipes = self._pipes[: len(calls)]
        for pipe, own in zip(pipes, calls, strict=True):
            pipe.send((side, places, own, warm, patience))
        for pipe in pipes:
            _received(pipe)
        for pipe in pipes:
            pipe.send(None)  # go
        return Together([_received(pipe) for pipe in pipes])


def _received(pipe: Connection) -> Outcome:
    said: Outcome | Exception = pipe.recv()
    if isinstance(said, Exception):
        raise said
    return said


@contextmanager
def clients(number: int) -> Iterator[Clients]:
    """So many processes; ended afterwards."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pipes: list[Connection] = []
    processes: list[ForkServerProcess] = []
    try:
        for _ in range(number):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield Clients(pipes)
    finally:
        for pipe in pipes:
            pipe.close()  # at which it ends
        for process in processes:
            process.join(5)
            process.kill()


def _serve(pipe: Connection) -> None:
    """A client's life: calls come in, an outcome goes out, until the pipe is closed."""
    while True:
        try:
            name, places, calls, warm, patience = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        side = open_side(name, places)
        try:
            for call in calls[:warm]:
                _done(side, call)
            gc.collect()
            gc.disable()
            pipe.send(None)  # ready
            pipe.recv()
            pipe.send(_work(side, calls[warm:], patience))
        except Exception as error:
            pipe.send(RuntimeError(f"A client failed: {error!r}"))
        finally:
            gc.enable()
            side.close()


def _work(side: Side, calls: Sequence[Call], patience: float) -> Outcome:
    seconds, done = [], []
    now = began = time.perf_counter()
    for call in calls:
        if now - began > patience:
            break
        before = now
        done.append(_done(side, call))
        now = time.perf_counter()
        seconds.append(now - before)
    answers = [_hash(call, result) for call, (result, _) in zip(calls, done, strict=False)]
    return Outcome(began, now, seconds, [error for _, error in done], answers)


def _done(side: Side, call: Call) -> tuple[object, str]:
    """The result, and the name of the error."""
    name, arguments = call
    try:
        return side.do(OPERATIONS[name], arguments), ""
    except Exception as error:
        return None, type(error).__name__


def _hash(call: Call, result: object) -> bytes:
    answer = OPERATIONS[call[0]].answer(result)
    return sha256(json.dumps(answer, sort_keys=True, default=str).encode()).digest()
