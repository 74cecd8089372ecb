"""What a reader must know of the machine and the versions to judge a number."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw
import psycopg

SHOWN = (
    "shared_buffers",
    "max_wal_size",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "autovacuum",
    "default_toast_compression",
)


def environment(dsn: str) -> dict[str, str]:
    """Machine, versions and the server's settings, each with its name."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with psycopg.connect(dsn) as connection:
        server = connection.execute("SHOW server_version").fetchall()[0][0]
        settings: dict[str, str] = dict(
            connection.execute("SELECT name, current_setting(name) FROM pg_settings").fetchall()
        )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} × {cpu.partition(':')[2].strip() or platform.machine()},"
        f" {memory / 2**30:.0f} GiB, {platform.system()}",
        "Python": platform.python_version(),
        "SQLite": f"{apsw.sqlite_lib_version()} in the process, by apsw",
        "PostgreSQL": f"{server} on loopback TCP",
        "clients": f"psycopg {version('psycopg')}, SQLAlchemy {version('sqlalchemy')}",
        "its settings": ", ".join(f"{name} {settings[name]}" for name in SHOWN),
    }


def busy() -> float:
    """How many processes wanted a core in the last minute: with more than the cores there are, times are too long."""
    return os.getloadavg()[0]


def how_busy() -> str:
    """The same in words that say whether it spoils the numbers."""
    wanting, cores = busy(), os.cpu_count() or 1
    note = " (too many: the times are too long, and PostgreSQL's, of two processes, more so)" if wanting > cores else ""
    return f"{wanting:.1f} processes wanted a core{note}"
