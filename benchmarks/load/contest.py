"""One database moved by everyone in turns: the product, psql as the limit, and the peers; several rounds."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.facts import busy
from benchmarks.load import limit
from benchmarks.load.datasets import Dataset
from benchmarks.load.meter import Cost, Failed, Server, run
from benchmarks.load.peers import Peer
from benchmarks.load.product import Done, Task
from migration.plan import Plan, read_plan

PRODUCT, LIMIT = "product", "limit"
AT_ONCE = 2
PRODUCT_AT_ONCE, LIMIT_AT_ONCE = f"{PRODUCT}, {AT_ONCE} tables at once", f"{LIMIT}, {AT_ONCE} tables at once"
OWN = (PRODUCT, LIMIT, PRODUCT_AT_ONCE, LIMIT_AT_ONCE)

Digests = Mapping[str, tuple[int, str]]
"""Rows of a table, and the sum of the hashes of their text: equal for equal rows in whatever order."""


class NotProved(Exception):
    """The product's own proof did not pass, so that no ratio is worth anything."""


@dataclass(frozen=True)
class Round:
    """What one of them did in one round. Seconds by table are of the load."""

    load: Cost
    finish: Cost = Cost(0, 0, 0)
    proof: Cost = Cost(0, 0, 0)
    start: float = 0
    """Seconds until the product's process had read its code; `load` has them not, a peer's has its own."""
    before: Mapping[str, Cost] = field(default_factory=dict)
    """What the product did before the load: preflight, backup, create_schema."""
    by_table: Mapping[str, float] = field(default_factory=dict)
    proof_by_table: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    differing: Mapping[str, str] = field(default_factory=dict)
    """For tables whose rows are not those of the source: how they are not."""


@dataclass
class Contest:
    """All rounds of one database; the rounds of one name belong together by number."""

    dataset: Dataset
    rows: int = 0
    bytes: int = 0
    """Of COPY's binary form."""
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    busy: float = 0
    """How many processes wanted a core before it began."""


def compete(
    dataset: Dataset, server: Server, peers: Sequence[Peer], rounds: int, tell: Callable[[str], None]
) -> Contest:
    """Let everyone move the database so many times. Raises NotProved."""
    contest = Contest(dataset, busy=busy())
    plan = read_plan(dataset.plan)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        tables = limit.tables_of(plan, server)
        first = _Field(contest, plan, tables, server, folder)
        if rounds > 1:
            tell(f"{dataset.name}, a round of the product's to warm up, which does not count")
            first.product()
        for number in range(rounds):
            entrants: list[tuple[str, Callable[[], Round]]] = [
                (LIMIT, first.limit),
                *((peer.name, partial(first.peer, peer)) for peer in peers),
            ]
            if len(tables.names) > 1:
                entrants.insert(1, (LIMIT_AT_ONCE, partial(first.limit, AT_ONCE)))
                entrants.insert(2, (PRODUCT_AT_ONCE, partial(first.product, AT_ONCE)))
            if number % 2:
                entrants.reverse()
            entrants.insert(0 if number % 2 == 0 else len(entrants), (PRODUCT, first.product))
            for who, does in entrants:
                if who in contest.given_up:
                    continue
                tell(f"{dataset.name}, round {number + 1} of {rounds}: {who}")
                try:
                    done = does()
                except Failed as error:
                    contest.given_up[who] = str(error)
                    contest.rounds.pop(who, None)
                    continue
                contest.rounds.setdefault(who, []).append(done)
    return contest


class _Field:
    """Where they compete: each in a database of its own, which is dropped afterwards."""

    def __init__(self, contest: Contest, plan: Plan, tables: limit.Tables, server: Server, folder: Path) -> None:
        self.contest, self.plan, self.tables, self.server, self.folder = contest, plan, tables, server, folder
        self.files: dict[str, Path] = {}
        self.proved: Digests = {}

    def product(self, at_once: int = 1) -> Round:
        """A whole migration but the cut-over. Raises NotProved."""
        with database(self.server) as server, tempfile.TemporaryDirectory(dir=self.folder) as home:
            try:
                (done,), _ = migrate([self.contest.dataset], server, Path(home), at_once)
            except Failed as error:
                raise NotProved(f"{self.contest.dataset.title}: {error}") from error
            digests = _digests(server, done.staging, self.tables.names)
            if self.proved and self.proved != digests:
                raise NotProved(f"{self.contest.dataset.title}: two proved loads differ: {self.proved} and {digests}")
            if not self.files:
                self.proved = digests
                self.contest.rows, self.contest.bytes = done.rows, done.bytes
                self.files = limit.export(server, done.staging, self.tables.names, self.folder)
        named = self.plan.target_table
        return Round(
            load=done.cost("load"),
            finish=done.cost("finish_schema"),
            proof=done.cost("verify"),
            start=done.cost("start").seconds,
            before={name: done.cost(name) for name in ("preflight", "backup", "create_schema")},
            by_table={named(table): seconds for table, seconds in done.load.items()},
            proof_by_table={named(table): seconds for table, seconds in done.proof.items()},
        )

    def limit(self, at_once: int = 1) -> Round:
        """psql with ready files; raises Failed unless the rows are those of the proved load."""
        with database(self.server, self.tables.empty) as server:
            cost, by_table = limit.load(server, self.files, self.folder, at_once)
            finish = self._finish(server)
            if differing := self._differing(server, "public"):
                raise Failed(f"psql loaded other rows than the product: {differing}")
        return Round(cost, finish, by_table=by_table)

    def peer(self, peer: Peer) -> Round:
        """Another loader, and after it the same scripts of psql. Raises Failed when it loads nothing."""
        sources = {self.plan.target_table(table): table for table in self.plan.tables}
        with database(self.server, () if peer.own_tables else self.tables.empty) as server:
            names = [sources[name] for name in self.tables.names]
            done = peer.load(self.contest.dataset.path, server, names, self.folder)
            if not done.by_table:
                raise Failed("; ".join(f"{table}: {why}" for table, why in done.failed.items()))
            if peer.own_tables:
                return Round(done.cost, by_table=done.by_table, failed=done.failed)
            whole = not done.failed
            finish = Cost(0, 0, 0)
            differing = self._differing(server, "public", list(done.by_table))
            if whole:
                try:
                    finish = self._finish(server)
                except Failed as error:
                    done = replace(done, failed={"keys and indexes": str(error)})
        return Round(done.cost, finish, by_table=done.by_table, failed=done.failed, differing=differing)

    def _finish(self, server: Server) -> Cost:
        return limit.finish(server, self.tables, {name: file.stat().st_size for name, file in self.files.items()},
                            self.folder)  # fmt: skip

    def _differing(self, server: Server, schema: str, names: Sequence[str] | None = None) -> dict[str, str]:
        found = _digests(server, schema, names or self.tables.names)
        return {
            name: f"{rows:,} rows for {self.proved[name][0]:,}" if rows != self.proved[name][0] else "other values"
            for name, (rows, digest) in found.items()
            if (rows, digest) != self.proved[name]
        }


def migrate(datasets: Sequence[Dataset], server: Server, home: Path, at_once: int = 1) -> tuple[list[Done], Cost]:
    """The product's steps for each of them, all in one process; what that cost in all. Raises Failed."""
    tasks = [
        Task(
            source=str(dataset.path),
            plan=str(dataset.plan),
            dsn=server.dsn,
            home=str(home),
            run=f"bench {dataset.name}",
            server=server.as_dict(),
            began=time.monotonic(),
            at_once=at_once,
        )
        for dataset in datasets
    ]
    file = home / "tasks.json"
    file.write_text(json.dumps([asdict(task) for task in tasks]))
    cost, output = run([sys.executable, "-m", "benchmarks.load.product", file], server)
    return [Done(**found) for found in json.loads(output.strip().splitlines()[-1])], cost


@contextmanager
def database(server: Server, statements: Sequence[bytes] = ()) -> Iterator[Server]:
    """An empty database with what these statements make, on a server that has nothing left to write."""
    name = sql.Identifier("contest")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    own = replace(server, dsn=make_dsn(server.dsn, "contest"))
    try:
        with psycopg.connect(own.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
        server.calm()
        yield own
    finally:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def make_dsn(dsn: str, database: str) -> str:
    """The URL with another database: some loaders take no other form of a connection string."""
    return f"{dsn.rpartition('/')[0]}/{database}"


def _digests(server: Server, schema: str, tables: Sequence[str]) -> Digests:
    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} AS t")
    settings = "-c timezone=UTC -c extra_float_digits=1"
    with psycopg.connect(make_conninfo(server.dsn, options=settings), autocommit=True) as connection:
        return {
            name: tuple(connection.execute(query.format(sql.Identifier(schema, name))).fetchall()[0]) for name in tables
        }
