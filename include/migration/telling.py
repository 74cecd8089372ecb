"""What the log of a step tells while it works: how far it is, and details apart from what everybody reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from migration.words import duration, size, visible

log = logging.getLogger("migration")

FIRST_SECONDS = 5.0
MOST_SECONDS = 30.0
"""How far a step is, is told after the first so many seconds, then at intervals that double up to the most."""
KNOWN = 0.01
"""From this part of the work on, the rate tells how long the rest will take."""


def _below(title: str, text: str) -> None:
    log.info("%s", "\n  ".join([f"{title}:", *text.split("\n")]))


show_detail: Callable[[str, str], None] = _below
"""Logs a title and the text below it; whoever runs the engine where logs can be folded puts his own here."""


def detail(title: str, lines: Iterable[str]) -> None:
    """Log lines that only some will read, if there are any; never what went wrong."""
    if text := "\n".join(map(visible, lines)):
        show_detail(visible(title), text)


@contextmanager
def progress(label: str, how_far: Callable[[], str]) -> Iterator[None]:
    """Log ``how_far()`` from time to time while this is entered, from a thread that does nothing else.

    It is called while the work goes on, so that it may only look at plain values. What is over before FIRST_SECONDS
    has no such line.
    """
    ended = Event()

    def tell() -> None:
        interval = FIRST_SECONDS
        while not ended.wait(interval):
            log.info("%s: %s", label, how_far())
            interval = min(2 * interval, MOST_SECONDS)

    thread = Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass
class Pace:
    """How fast rows pass, from when this was made."""

    total: int
    started: float = field(default_factory=time.monotonic)

    def told(self, done: int, octets: int) -> str:
        """How far, how fast and how much longer: ``309,000 of 618,000 rows (50 %), 60.2 MB, …``."""
        done = min(done, self.total)
        so_far = f"{done:,} of {self.total:,} rows"
        passed = time.monotonic() - self.started
        if not done or not passed:
            return so_far
        so_far += f" ({100 * done // self.total} %), {size(octets)}; {done / passed:,.0f} rows/s"
        so_far += f", {octets / 1e6 / passed:,.1f} MB/s"
        if done < KNOWN * self.total:
            return so_far
        left = passed * (self.total - done) / done
        return f"{so_far}, about {duration(left) if left >= 60 else f'{left:.0f} s'} left"


def throughput(octets: int, seconds: float) -> str:
    """``120.3 MB in 3.10 s (38.8 MB/s)``; less than a megabyte has no rate."""
    rate = f" ({octets / 1e6 / seconds:,.1f} MB/s)" if octets >= 1e6 and seconds else ""
    return f"{size(octets)} in {duration(seconds)}{rate}"


def sentence(text: str) -> str:
    """What an error says, as it may stand in a log: its lines, with what a terminal would obey written as an escape."""
    return "\n".join(map(visible, text.split("\n")))
