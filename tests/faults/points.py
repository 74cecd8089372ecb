"""The moments at which a step touches the world, counted, so that it can be broken at each of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psycopg

from tests.engine.support import in_a_process
from tests.faults.world import STEPS, World

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Points:
    """Counts, in this process from now on, each exchange with the server before it and after it, each change of a file
    below ``folder`` before it, and each portion that SQLite's backup copies. At the ``at``-th it calls ``act``.

    For a process that ends with the step: what is watched stays watched.
    """

    def __init__(self, folder: Path, at: int | None = None, act: Callable[[], Any] = lambda: None) -> None:
        self.at, self.act, self.folder = at, act, str(folder)
        self.kinds: list[str] = []
        """What each moment was: ``sending``, ``answered`` or ``file``."""
        self.connection: psycopg.Connection[Any] | None = None
        """That of the last exchange."""
        wait = psycopg.Connection.wait

        def waited(connection: Any, *arguments: Any, **named: Any) -> Any:
            self.connection = connection
            self.point("sending")
            found = wait(connection, *arguments, **named)
            self.point("answered")
            return found

        psycopg.Connection.wait = waited  # type: ignore[method-assign, assignment]
        sys.addaudithook(self._audited)
        sys.setprofile(self._profiled)

    def point(self, kind: str) -> None:
        """One more moment."""
        self.kinds.append(kind)
        if len(self.kinds) == self.at:
            self.act()

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (writes or event in _CHANGES) and str(arguments[0]).startswith(self.folder):
            self.point("file")

    def _profiled(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_call" and isinstance(getattr(argument, "__self__", None), apsw.Backup):
            self.point("file")


def moments(world: World, step: str) -> list[str]:
    """What the moments of a step are."""
    world.back_to(step)
    told = world.folder / "moments"

    def count() -> None:
        points = Points(world.job.home)
        STEPS[step](world.job)
        told.write_text(" ".join(points.kinds))

    assert in_a_process(count) == 0
    return told.read_text().split()
