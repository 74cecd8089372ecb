"""Whatever a name or a value holds, it stays a name or a value: in SQL, pages, shell lines, files, logs and messages."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from psycopg import sql

from migration.errors import PlanError
from migration.job import Job
from migration.plan import plan_path, read_plan
from migration.report import gather, restore_command
from migration.sqlite.catalog import quoted
from migration.sqlite.snapshot import snapshot_path
from migration.telling import sentence
from tests.conftest import Server
from tests.engine.support import ask, connection_to, database, insert, quarantined_bytes
from tests.engine.verify_case import one_database
from tests.faults.bearing import Bearing, Lines, make, returned, travel
from tests.faults.hostile import HOSTILE, Parsed, harm_in_lines
from tests.faults.ledger import Ledger
from tests.hazards.moving import move

AREA = "hostile names and values"
INERT = "shown, nothing obeyed"


@pytest.fixture(autouse=True)
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plans"
    monkeypatch.setattr("migration.plan.PLANS", folder)
    return folder


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the engine logs."""
    handler, log = Lines(), logging.getLogger("migration")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


class Points:
    """Enters points, and keeps those that do harm."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name, self.harm = ledger, name, list[str]()

    def point(self, place: str, harm: str, outcome: str = INERT) -> None:
        """One string at one place; ``harm`` says what it did there, '' for nothing."""
        self.ledger.tried(AREA, place, "DOES HARM" if harm else outcome, wrong=bool(harm))
        if harm:
            self.harm.append(f"{self.name}, {place}: {harm}")


def of_lines(where: str) -> str:
    """The line of the table for what is said in lines."""
    return next((w for w in ("assessment", "report as text") if where.startswith(w)), "messages")


@pytest.fixture(scope="module")
def own(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """The elements, attributes, scripts and styles of the product's own pages: those about a harmless string."""
    folder = tmp_path_factory.mktemp("harmless")
    with pytest.MonkeyPatch.context() as patch, one_database(postgres_server) as dsn:
        patch.setattr("migration.plan.PLANS", folder / "plans")
        bearing = make("pl\x01ain", folder, dsn)
        returned(bearing, travel(bearing))
        return Parsed("".join(page for _, page in bearing.told.pages))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_string_that_is_everywhere_changes_nothing_but_itself(
    tmp_path: Path, target_dsn: str, plans: Path, ledger: Ledger, lines: Lines, own: Parsed, name: str
) -> None:
    text, points = HOSTILE[name], Points(ledger, name)
    folder = tmp_path / "work"
    folder.mkdir()
    bearing = make(text, folder, target_dsn)
    before = contents(tmp_path)
    job = travel(bearing)

    told, arrived = bearing.told, rows_of(job, text)
    points.point(
        "names and rows in the target", "" if arrived == rows(text) else f"{arrived}", "arrived, by these names"
    )
    kept = quarantined_bytes(job, text).get((row_key(text + "2"), "amount"))
    whole = kept == ("text", (text + "x").encode())
    points.point("rows in the quarantine", "" if whole else f"{kept}", "kept with their bytes")
    points.point("shell lines of the report", restored(bearing, job), "ran, did what they say and no more")
    returned(bearing, job)
    points.point("the way back", "" if nothing_in_public(job) else "something is live", "taken")

    (stopped,) = (said for where, said in told.lines if where == "load stops")
    problems = [line for line in stopped.split("\n") if line.startswith("  table ")]
    points.point("a load that fails", "" if len(problems) == 1 else f"{problems}", "one line for its one problem")
    for where, said in told.lines:
        shown = said if where.endswith("as text") else sentence(said)  # as logs and terminals get it
        points.point(of_lines(where), and_where(where, harm_in_lines(shown)))
    for line in lines.kept:
        points.point("log lines", harm_in_lines(line))
    for where, said in told.markdown:
        points.point("Markdown", and_where(where, harm_in_lines(said) or harm_in_markdown(said)))
    for where, page in told.pages:
        points.point("pages", and_where(where, harm_in_page(Parsed(page), own, text)))
    for where, said in told.json:
        json.loads(said)
        points.point("JSON", and_where(where, "" if said.isascii() else "not ASCII"), "parsed, and ASCII")
    points.point("plan file", harm_in_plan(plans, job, text), "read back as it was written")
    made = contents(tmp_path) - before
    odd = [p for p in made if not re.fullmatch(r"(plans|work/home)(/[A-Za-z0-9_.-]+)*", str(p))]
    points.point("names of files and folders", f"{odd}" if odd else "", "letters, digits, and where they belong")
    assert not points.harm, f"{len(points.harm)}:\n" + "\n".join(points.harm[:30])


ALIKE = {
    "letter case": ("É", "é"),
    "unicode form": ("\u00e9", "e\u0301"),
    "spaces that do not show": ("a", "a\u200b", "a\u00a0", "a "),
    "the same first 63 bytes": ("z" * 63, "z" * 64, "z" * 65 + "1", "z" * 65 + "2"),
    "the same once cut within a character": ("é" * 32, "é" * 33, "x" + "é" * 32),
    "letters of two scripts": ("ab", "\u0430b"),
}


@pytest.mark.parametrize("how", ALIKE)
def test_names_that_look_alike_stay_apart(tmp_path: Path, target_dsn: str, ledger: Ledger, how: str) -> None:
    names = ALIKE[how]
    columns = ", ".join(quoted(n) for n in names)
    source = database(
        tmp_path / "app.db",
        *(f"CREATE TABLE {quoted(n)} ({columns}, UNIQUE ({quoted(n)}))" for n in names),
        *(f"CREATE INDEX {quoted('i' + n)} ON {quoted(n)} ({columns})" for n in names),
    )
    for number, name in enumerate(names):
        insert(source, name, [tuple(f"{number} {place}" for place in range(len(names)))])
    moved = move(source, target_dsn)
    found = {n: moved.rows(moved.plan.target_table(n)) for n in names}
    wanted = {n: [tuple(f"{i} {p}" for p in range(len(names)))] for i, n in enumerate(names)}
    ledger.tried(AREA, "names that look alike", "stay apart" if found == wanted else "MIXED UP", wrong=found != wanted)
    assert found == wanted


def row_key(*values: object) -> str:
    return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)


def and_where(where: str, harm: str) -> str:
    return harm and f"{where}: {harm}"


def rows(text: str) -> list[tuple[object, ...]]:
    """What of the parent's rows is in the target, by amount: all but the one that stays in the quarantine."""
    there = [(text, 1, text, b"\0"), ("other", 2, "x", text.encode())]
    return [*there, (text + "3", 3, None, b""), ("broken", 4, "ab" + text, None)]


def rows_of(job: Job, text: str) -> list[tuple[object, ...]]:
    plan = job.plan.tables[text]
    columns = [sql.Identifier(plan.target_column(c)) for c in (text, "amount", "note", "mixed")]
    query = sql.SQL("SELECT {} FROM {} ORDER BY 2")
    live = sql.Identifier("public", job.plan.target_table(text))
    return ask(job, query.format(sql.SQL(", ").join(columns), live))


def nothing_in_public(job: Job) -> bool:
    return ask(job, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]


def contents(folder: Path) -> set[Path]:
    return {p.relative_to(folder) for p in folder.rglob("*")}


def harm_in_markdown(said: str) -> str:
    """What a renderer would make of it beyond the product's own paragraphs and tables."""
    active = re.search(r"(?<!\\)<(script|img|b|/)|(?<!\\)\]\(|(?<!\\)`|\{\{|(?<!\\)~~", said)
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in said.split("\n") if line.startswith("|")}
    return f"{active[0]!r}" if active else "a cell more" if len(widths) > 1 else ""


def harm_in_page(page: Parsed, own: Parsed, text: str) -> str:
    """What the string brought into a page beyond text."""
    if more := page.made - own.made:
        return f"elements or attributes {more}"
    if more_code := set(page.code) - set(own.code):
        return f"code {more_code}"
    addresses = {a for a in page.addresses - own.addresses if not re.fullmatch(r"#[\w.-]*|[\w:;.,%() -]*", a)}
    return f"addresses {addresses}" if addresses else harm_in_lines("".join(page.texts))


def harm_in_plan(plans: Path, job: Job, text: str) -> str:
    """Whether the plan that was written is one file, is inert as YAML, and names the table."""
    (path,) = plans.iterdir()
    written = path.read_text()
    whole = yaml.safe_load(written)
    if list(whole["tables"])[0] not in (text, text + "2"):
        return f"tables {list(whole['tables'])}"
    if read_plan(path).title != job.source.name:
        return "another title"
    comments = [line for line in written.split("\n") if line.lstrip().startswith("#")]
    return harm_in_lines("\n".join(comments))


def restored(bearing: Bearing, job: Job) -> str:
    """Run the shell lines of the report: they write one file, the snapshot's bytes, beside the source."""
    with connection_to(job) as connection:
        shell = restore_command(gather(connection, job))
    assert shell is not None
    empty, made = bearing.home.parent / "empty", Path(f"{bearing.source}.restored")
    empty.mkdir()
    for program in ("sh", "bash"):
        subprocess.run([program, "-n"], input=shell.encode(errors="surrogateescape"), check=True, timeout=20)
        before = contents(bearing.home.parent)
        done = subprocess.run(
            [program, "-c", shell], cwd=empty, capture_output=True, timeout=20, check=False,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        right = made.exists() and made.read_bytes() == snapshot_path(job).read_bytes()
        more = contents(bearing.home.parent) - before - {made.relative_to(bearing.home.parent)}
        made.unlink(missing_ok=True)
        for path in more:
            (bearing.home.parent / path).unlink()
        if more or (not right and (program == "bash" or done.returncode == 0)):
            return f"{program}: {done.returncode} {done.stderr!r}, {more or 'not the snapshot'}, of {shell!r}"
    empty.rmdir()
    return ""


BAD_NAMES = [name for name, text in HOSTILE.items() if not re.fullmatch("[a-z][a-z0-9_]{0,39}", text)]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_plan_of_such_a_name_is_refused(tmp_path: Path, plans: Path, ledger: Ledger, name: str) -> None:
    with pytest.raises(PlanError) as refused:
        plan_path(HOSTILE[name])
    harm = harm_in_lines(str(refused.value))
    ledger.tried(AREA, "a plan's name", "DOES HARM" if harm else "refused by a sentence", wrong=bool(harm))
    assert not harm
    assert not plans.exists()
