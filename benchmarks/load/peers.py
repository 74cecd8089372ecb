"""The other loaders: how each is installed, and how it is asked to fill the same tables."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from benchmarks.load.meter import Cost, Failed, Server, run
from local.files import LOCAL

FOLDER = LOCAL / "peers"
PACKAGES = {
    "ingestr": ("ingestr==1.0.78",),  # later wheels fetch the program from GitHub when they first run
    "sling": ("sling==1.4.10.post2", "sling-linux-amd64==1.4.10.post2"),  # the last ones with the program in a wheel
    "dlt": ("dlt[postgres,sql_database,parquet]==1.31.0",),
}
HERE = Path(__file__).parent
TOLD = 240

PGLOADER = """\
LOAD DATABASE FROM sqlite://{path} INTO {dsn}
 WITH data only, workers = 2, concurrency = 1, prefetch rows = 1000, batch rows = 10000, batch size = 8MB
 SET search_path TO 'public';
"""
"""With its own 100,000 rows of prefetch it exhausts its heap on documents."""


@dataclass(frozen=True)
class Loaded:
    """What a load cost, in all and by table in seconds where that is known, and why tables could not be loaded."""

    cost: Cost
    by_table: Mapping[str, float]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """Another loader. ``own_tables``: it cannot fill tables that are there, and makes its own."""

    name: str
    words: str
    load: Callable[[Path, Server, Sequence[str], Path], Loaded]
    install: Callable[[], str]
    """Makes sure that it is there, and tells its version; Failed when it cannot be."""
    own_tables: bool = False


def _installed(name: str) -> str:
    """The version of a package in its own environment, made when first asked for."""
    home = FOLDER / name
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        uv = [sys.executable, "-m", "uv"]
        for command in (
            [*uv, "venv", "--python", sys.executable, str(home)],
            [*uv, "pip", "install", "--python", str(home / "bin" / "python"), *PACKAGES[name]],
        ):
            _checked(command)
        (home / "complete").touch()
    return PACKAGES[name][0]


def _checked(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise Failed(f"{Path(command[0]).name}: {' '.join((done.stderr or done.stdout).split())[-TOLD:]}")
    return done.stdout.strip()


def _pgloader() -> str:
    if not shutil.which("pgloader"):
        if not shutil.which("apt-get"):
            raise Failed("there is no pgloader, and no apt-get to install Debian's package")
        _checked(["apt-get", "install", "-y", "--no-install-recommends", "pgloader"])
    return _checked(["pgloader", "--version"]).splitlines()[0]


def _load_by_pgloader(path: Path, server: Server, tables: Sequence[str], folder: Path) -> Loaded:
    script = folder / "pgloader.load"
    script.write_text(PGLOADER.format(path=path, dsn=server.dsn))
    cost, output = run(
        ["pgloader", "--dynamic-space-size", "4096", "--root-dir", folder / "pgloader", script],
        server,
        {"LC_ALL": "C.UTF-8"},
    )
    by_table, failed = {}, {}
    for line in output.splitlines():
        match line.split():
            case [name, errors, _, *_, total] if name in tables and errors.isdigit() and total.endswith("s"):
                by_table[name] = _seconds(total)
                if errors != "0":
                    failed[name] = f"{errors} rows rejected"
    if not by_table:
        raise Failed(" ".join(output.split())[-TOLD:])
    return Loaded(cost, by_table, failed)


def _seconds(words: str) -> float:
    """pgloader's `1m2.345s`."""
    minutes, _, rest = words.rstrip("s").rpartition("m")
    hours, _, minutes = minutes.rpartition("h")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(rest)


def _each(
    command: Callable[[Path, str, str], Sequence[str | Path]],
) -> Callable[[Path, Server, Sequence[str], Path], Loaded]:
    """Loads table by table, a process each."""

    def load(path: Path, server: Server, tables: Sequence[str], folder: Path) -> Loaded:
        whole, by_table, failed = Cost(0, 0, 0), {}, {}
        for table in tables:
            try:
                cost, _ = run(command(path, server.dsn, table), server, {"HOME": str(folder)}, folder=folder)
            except Failed as error:
                failed[table] = str(error)
                continue
            whole += cost
            by_table[table] = cost.seconds
        return Loaded(whole, by_table, failed)

    return load


def _ingestr(path: Path, dsn: str, table: str) -> Sequence[str | Path]:
    return [
        *(FOLDER / "ingestr" / "bin" / "ingestr", "ingest", "--yes", "--progress", "log", "--no-load-timestamp"),
        *("--source-uri", f"sqlite:///{quote(str(path))}", "--source-table", table),
        *("--dest-uri", dsn, "--dest-table", f"public.{table}", "--incremental-strategy", "append"),
    ]


def _sling(path: Path, dsn: str, table: str) -> Sequence[str | Path]:
    return [
        *(FOLDER / "sling" / "bin" / "sling", "run", "--mode", "truncate"),
        *("--src-conn", f"sqlite://{path}", "--src-stream", f"main.{table}"),
        *("--tgt-conn", f"{dsn}?sslmode=disable", "--tgt-object", f"public.{table}"),
    ]


def _dlt(path: Path, dsn: str, table: str) -> Sequence[str | Path]:
    return [FOLDER / "dlt" / "bin" / "python", HERE / "by_dlt.py", path, dsn, table]


def _inserts(path: Path, dsn: str, table: str) -> Sequence[str | Path]:
    return [sys.executable, HERE / "by_inserts.py", path, dsn, table]


PEERS = (
    Peer("pgloader", "data only, 2 workers, 1,000 rows of prefetch, 4 GB of heap", _load_by_pgloader, _pgloader),
    Peer("ingestr", "append, a process for each table", _each(_ingestr), lambda: _installed("ingestr")),
    Peer("sling", "truncate, a process for each table", _each(_sling), lambda: _installed("sling")),
    Peer(
        "dlt",
        "sql_database by pyarrow, CSV, a process for each table",
        _each(_dlt),
        lambda: _installed("dlt"),
        own_tables=True,
    ),
    Peer("inserts", "sqlite3 and psycopg's executemany()", _each(_inserts), lambda: "psycopg"),
)
QUICK = ("pgloader", "ingestr")
"""Those that finish in reasonable time with the large databases."""


def available() -> tuple[list[Peer], dict[str, str], dict[str, str]]:
    """The peers that are there, their versions, and why the others are not."""
    found, versions, missing = [], {}, {}
    for peer in PEERS:
        try:
            versions[peer.name] = peer.install()
            found.append(peer)
        except Failed as error:
            missing[peer.name] = str(error)
    return found, versions, missing
