"""The page about the way: steps with their measured durations, who decides what, and the way back at each moment."""

from dataclasses import dataclass

from tests.documents.durations import Durations
from tests.documents.markdown import table

ABOUT = """\
# The migration plan

An assessment, rehearsals, and the day. The application stands still only on the day, from the backup to the cut-over.

| when | what | who | command |
|---|---|---|---|
| before | assess a copy: what is in it, what becomes of it | data engineer | `./run assess APP.db` |
| before | decide what becomes of values that cannot cross, in `include/plans/widgettdc.yaml` | owner of the data | [type-mapping.md](type-mapping.md) |
| rehearsal | everything but the cut-over, as often as you like; the application goes on | data engineer | `./run APP.db --rehearsal` |
| the day | stop the application's writes; migrate; approve; give it the new DATABASE_URL | operator, and whoever approves | `./run APP.db --target URL` |
| after | the newest schema revision, with the search's index, while the application runs | data engineer | `python -m widgettdc.schema upgrade` |
| after | keep the snapshot and the retired schema until nobody wants to go back | operator | [the way back](#the-way-back) |

With Airflow it is the DAG `migrate_widgettdc` instead of `./run`; [deployment.md](../deployment.md) has the checklist for
the stack. `python -m` commands want `include` on PYTHONPATH, MIGRATION_TARGET_DSN (migration) or DATABASE_URL (schema).

## Steps

Each can be run again by itself and ends in the same state. Nothing live is touched before the cut-over.
"""
DECISIONS = """\
## Who decides what

| question | who | where | if nobody says anything |
|---|---|---|---|
| may rows be left in the quarantine? | owner of the data | *quarantine* in the form, `--quarantine` | the run stops, and names them |
| a value that cannot cross: round, NULL, set aside? | owner of the data | `invalid:` in the plan | the load stops, and names it |
| the target's tables hold rows already: set them aside? | operator | *live tables that hold rows*, `--on-live-tables` | refused before anything is touched |
| cut over? | whoever approves, with balance and verdict before them | the task *approve* | after seven days the staging is kept, the run ends failed |
| rows were written since the cut-over: go back all the same? | owner of the data | the task *confirm* of `rollback_widgettdc`, `--confirm-lost-writes` | refused, with numbers |
"""
BACK = """\
## The way back

What is true at each moment, and the command. Each was run in this order by the test of this page.
"""
AIRFLOW = """\
Under Airflow it is the DAG `rollback_widgettdc`, from the UI or by `airflow dags trigger rollback_widgettdc`: it shows what
it would undo, and asks. RUN is the run's id, as the report's first line says it. If the target's server itself is lost,
its dump comes back as [deployment.md](../deployment.md) says; the SQLite file was only ever read.
"""


@dataclass(frozen=True)
class Moment:
    """A moment of a migration, and how to go back from there."""

    when: str
    there: str
    command: str
    lost: str


MOMENTS = (
    Moment(
        "a step failed, or it was a rehearsal",
        "a staging schema; everything live as before",
        "python -m migration rollback --run RUN",
        "nothing; the next run would drop it too",
    ),
    Moment(
        "all is verified, nobody has approved yet",
        "the same; *Roll back* is one of the answers",
        "python -m migration rollback --run RUN",
        "nothing",
    ),
    Moment(
        "cut over, nothing written since",
        "the migrated tables live, the former ones in the retired schema",
        "python -m migration rollback --run RUN",
        "nothing; one transaction, the inverse of the cut-over",
    ),
    Moment(
        "cut over, rows written since",
        "the command above refuses, with the number of rows",
        "python -m migration rollback --run RUN --confirm-lost-writes",
        "the rows are not live any more; they stay in the run's staging schema",
    ),
    Moment(
        "the schema's newest revision is in",
        "more indexes than the migration makes",
        "python -m widgettdc.schema downgrade 0001",
        "only these indexes; a rollback works without it as well",
    ),
    Moment(
        "SQLite shall be the application's database again",
        "the snapshot, with its sha256",
        "python -m migration restore SNAPSHOT/manifest.json restored.db",
        "what was written since the backup; nothing is written over",
    ),
)
STEPS = {
    "preflight": "holds source, plan and target against each other, and names everything that does not fit",
    "backup": "the snapshot of the SQLite file, with its WAL, integrity check and sha256",
    "create_schema": "the tables in a staging schema, without keys and indexes",
    "load": "one COPY per table; quarantine and balance in the same transaction",
    "finish_schema": "keys, indexes, foreign keys, sequences, ANALYZE",
    "verify": "every value of snapshot and staging, by code that shares nothing with the loader",
    "cut_over": "the live source is compared with the snapshot; then one transaction",
}


def page(durations: Durations) -> str:
    """The whole page."""
    sizes = list(durations.seconds)
    rows = [
        (step, told, *(f"{durations.seconds[size].get(step, 0):.1f} s" for size in sizes))
        for step, told in STEPS.items()
    ]
    whole = ("**all**", "", *(f"**{sum(durations.seconds[size].values()):.1f} s**" for size in sizes))
    back = [(m.when, m.there, f"`{m.command}`", m.lost) for m in MOMENTS]
    return "\n".join(
        [
            ABOUT,
            table(("step", "what it does", *(f"{int(size):,} rows" for size in sizes)), [*rows, whole]),
            "Measured from the command line, one table after the other; under Airflow those that do not refer to each\n"
            f"other go side by side. {durations.environment}.\n",
            DECISIONS,
            BACK,
            table(("when", "what is there", "the way back", "what is lost"), back),
            AIRFLOW,
        ]
    )
