"""The moments at which a step touches the world, counted, so that it can be broken at each of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psycopg

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Points:
    """Counts, in this process from now on, each exchange with the server before it and after it, each change of a file
    below ``folder`` before it, and each portion that SQLite's backup copies. At the ``at``-th it calls ``act``.

    For a process that ends with the step: what is watched stays watched.
    """

    def __init__(self, folder: Path, at: int | None = None, act: Callable[[], Any] = lambda: None) -> None:
        self.seen, self.at, self.act, self.folder = 0, at, act, str(folder)
        wait = psycopg.Connection.wait

        def waited(connection: Any, *arguments: Any, **named: Any) -> Any:
            self.point()
            found = wait(connection, *arguments, **named)
            self.point()
            return found

        psycopg.Connection.wait = waited  # type: ignore[method-assign, assignment]
        sys.addaudithook(self._audited)
        sys.setprofile(self._profiled)

    def point(self) -> None:
        """One more moment."""
        self.seen += 1
        if self.seen == self.at:
            self.act()

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (writes or event in _CHANGES) and str(arguments[0]).startswith(self.folder):
            self.point()

    def _profiled(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_call" and isinstance(getattr(argument, "__self__", None), apsw.Backup):
            self.point()
