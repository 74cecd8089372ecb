"""The limit: what psql takes to do the same work with ready files, whose rows need no reading and no casts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.load.meter import Cost, Server, run
from local.postgres import PROGRAMS
from migration.job import Job
from migration.plan import Plan
from migration.postgres.shape import Shape, ddl, expected

PSQL = PROGRAMS / "bin" / "psql"
QUIET = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
CONNECTIONS = 3
"""As many as the product's finish_schema has."""


@dataclass(frozen=True)
class Tables:
    """The plan's tables as statements: empty ones in the schema public, and what they get after their rows."""

    names: tuple[str, ...]
    """As the target has them, in load order."""
    empty: tuple[bytes, ...]
    finish: Mapping[str, str]
    references: str


def tables_of(plan: Plan, server: Server) -> Tables:
    """The plan's tables; asks the server, and leaves nothing there."""
    job = Job(plan, "statements", server.dsn, Path(), Path())
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        shapes = expected(connection, job)
        names = [plan.target_table(table) for level in plan.levels for table in level]
        finish = {name: _finish(connection, name, shapes[name]) for name in names}
        references = [_constraints(connection, name, shapes[name]["foreign_keys"]) for name in names]
    return Tables(tuple(names), tuple(ddl(plan, "public", pre_data=True)), finish, "".join(references))


def _finish(connection: psycopg.Connection, table: str, shape: Shape) -> str:
    """The script that gives a table its keys, checks and indexes, sets its sequences and analyses it."""
    keys = sorted(shape["constraints"].items(), key=lambda one: not one[1].startswith("PRIMARY"))
    parts = [_constraints(connection, table, dict(keys)), *(f"{index};\n" for index in shape["indexes"].values())]
    for name, definition in shape["sequences"].items():
        column = definition.split()[-2]
        past = sql.SQL("SELECT setval({}, coalesce(max({}), 0) + 1, false) FROM {};\n")
        parts.append(past.format(name, sql.Identifier(column), sql.Identifier(table)).as_string(connection))
    return "".join([*parts, sql.SQL("ANALYZE {};\n").format(sql.Identifier(table)).as_string(connection)])


def _constraints(connection: psycopg.Connection, table: str, definitions: Mapping[str, str]) -> str:
    alter = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ")
    return "".join(
        f"{alter.format(sql.Identifier(table), sql.Identifier(name)).as_string(connection)}{definition};\n"
        for name, definition in definitions.items()
    )


def export(server: Server, schema: str, tables: Sequence[str], folder: Path) -> dict[str, Path]:
    """Files of COPY's binary form with the rows of these tables, by table."""
    files = {table: folder / f"{number}.copy" for number, table in enumerate(tables)}
    script = "".join(
        f"\\copy {_quoted(schema)}.{_quoted(table)} to '{file}' with (format binary)\n" for table, file in files.items()
    )
    _psql(script, server, folder / "export.sql")
    return files


def load(server: Server, files: Mapping[str, Path], folder: Path, at_once: int = 1) -> tuple[Cost, dict[str, float]]:
    """Fill the empty tables from their files, in this order and so many at once; one after the other, each's seconds
    too."""
    copies = {table: f"\\copy {_quoted(table)} from '{file}' with (format binary)\n" for table, file in files.items()}
    if at_once > 1:
        return _at_once([*copies.values()], server, folder, "load", at_once), {}
    cost, output = _psql("\\timing on\n" + "".join(copies.values()), server, folder / "load.sql")
    seconds = [float(found) / 1e3 for found in re.findall(r"^Time: ([\d.]+) ms", output, re.MULTILINE)]
    return cost, dict(zip(files, seconds, strict=True))


def finish(server: Server, tables: Tables, sizes: Mapping[str, int], folder: Path) -> Cost:
    """Give the tables what they have after their rows, as the product does: several at once, the largest first."""
    ordered = sorted(tables.names, key=lambda name: -sizes[name])
    scripts = [tables.finish[name] for name in ordered]
    return _at_once(scripts, server, folder, "finish", CONNECTIONS, tables.references)


def _at_once(scripts: Sequence[str], server: Server, folder: Path, name: str, at_once: int, last: str = "") -> Cost:
    """Run the scripts, so many at once, and ``last`` after them."""
    files = [folder / f"{name}-{number:04}.sql" for number in range(len(scripts) + 1)]
    for file, script in zip(files, [*scripts, last], strict=True):
        file.write_text(script)
    program = 'list=$1; shift; xargs -P "$1" -n 1 "$2" $3 -d "$4" -f < "$list" && exec "$2" $3 -d "$4" -f "$5"'
    listed = folder / f"{name}.list"
    listed.write_text("".join(f"{file}\n" for file in files[:-1]))
    quiet = " ".join([*QUIET, "--output=/dev/null"])
    cost, _ = run(["sh", "-c", program, "sh", listed, str(at_once), PSQL, quiet, server.dsn, files[-1]], server)
    return cost


def _psql(script: str, server: Server, file: Path) -> tuple[Cost, str]:
    file.write_text(script)
    return run([PSQL, *QUIET, "-d", server.dsn, "-f", file], server)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
