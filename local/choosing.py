"""Which plan a database goes by, and the assessment that writes one where there is none."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.airflow import MIGRATION_HOME
from local.files import LocalError, require_folder
from local.target import Target
from migration.errors import MigrationError, translated
from migration.plan import Plan, plan_files, plan_path, read_plan
from migration.sqlite.opening import check_integrity, open_source
from migration.telling import sentence

if TYPE_CHECKING:
    from migration.assess import Assessment  # it takes a second to import, which ./run psql and stop shall not wait for

WIDGETTDC = "widgettdc"
UNDECIDED = 3
"""The exit code when a person has to decide first."""


@dataclass(frozen=True)
class Work:
    """What is migrated, by which plan, into what."""

    plan: Plan
    source: Path
    target: Target

    @property
    def dag(self) -> str:
        return f"migrate_{self.plan.name}"


def tables_of(source: Path) -> set[str]:
    """The names of the database's tables, in lower case; LocalError says why the file is no sound database."""
    try:
        connection = open_source(source)
        try:
            check_integrity(connection, source, quick=True)
            with translated(f"Reading {source}"):
                found = connection.execute("SELECT lower(name) FROM sqlite_schema WHERE type = 'table'").fetchall()
        finally:
            connection.close()
    except MigrationError as error:
        raise LocalError(sentence(str(error))) from error
    return {str(name) for (name,) in found}


def choose(source: Path, tables: set[str], *, plan: str | None = None, name: str | None = None) -> str:
    """The name of the plan for a database with these tables; it may have to be written yet (:func:`is_written`).

    ``plan`` is an existing one chosen by hand, ``name`` that of one to write. LocalError: that plan is another file's.
    """
    if plan is None and name is None:
        wanted = {table.lower() for table in read(WIDGETTDC).tables}
        if 2 * len(wanted & tables) >= len(wanted):
            return WIDGETTDC
    from migration.assess import plan_name

    chosen = plan or name or plan_name(source)
    if not is_written(chosen):
        if plan is not None:
            known = ", ".join(path.stem for path in plan_files())
            raise LocalError(f"There is no plan {plan}; there are {known}.", status=2)
        return chosen
    of = read(chosen).source
    if of != str(source) and (plan is None or of.startswith("/")):
        raise LocalError(
            f"The plan {chosen} is there already and is for {of}, not for {source}. Give this one's plan another name "
            f"with --name.",
            status=2,
        )
    return chosen


def is_written(name: str) -> bool:
    """Whether there is a plan of that name."""
    return path_of(name).exists()


def path_of(name: str) -> Path:
    """The plan's file; a LocalError when no plan can have that name."""
    try:
        return plan_path(name)
    except MigrationError as error:
        raise LocalError(sentence(str(error)), status=2) from error


def read(name: str) -> Plan:
    """The plan; a LocalError says what is wrong with it."""
    try:
        return read_plan(path_of(name))
    except MigrationError as error:
        raise LocalError(sentence(str(error))) from error


def assessed(source: Path, name: str, target: Target, *, replace: bool = False) -> "Assessment":
    """Assess the database, print the report, and write its plan."""
    from migration.assess import assess

    print(f"Assessing {source} …", flush=True)
    require_folder(MIGRATION_HOME).chmod(0o700)  # a copy of the database lies there for a while
    try:
        found = assess(source, MIGRATION_HOME, name=name, target=target.url, replace=replace)
    except MigrationError as error:
        raise LocalError(sentence(str(error))) from error
    print(f"\n{found.text}\n", flush=True)
    return found


def goes_on(found: "Assessment", *, accept: bool) -> bool:
    """Whether a migration may follow at once; says what to decide when not."""
    if found.grade == "A" or (found.grade == "B" and accept):
        return True
    if found.grade == "C":
        print("What no proposal settles has to be decided in the plan, or left out by name.")
    print(f"Nothing was migrated yet. {how_to_confirm(found.plan.name)}")
    return False


def confirmed(name: str) -> bool:
    """Whether a person stands behind an existing plan; says how to when not."""
    if read(name).confirmed:
        return True
    print(f"Nothing was migrated: nobody has confirmed the plan yet. {how_to_confirm(name)}")
    return False


def how_to_confirm(name: str) -> str:
    """What to do with a plan that has decisions to confirm."""
    return (
        f"Look for TO CONFIRM in {path_of(name)}, change what shall be otherwise, and set `confirmed: true` there; "
        "then run the same again. Or take all proposals as they are with --accept."
    )
