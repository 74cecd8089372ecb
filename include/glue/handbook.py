"""What Airflow's UI tells an operator about each DAG and task: what it does, and what to do when it fails."""

from __future__ import annotations

from typing import Any

from migration.plan import Plan

NAMES = {
    "preflight": "Preflight",
    "backup": "Backup",
    "create_schema": "Create schema",
    "cut": "Divide",
    "rows": "Rows",
    "total": "Total",
    "finish_schema": "Finish schema",
    "decide": "Rehearsal, or ask",
    "approve": "Approve",
    "cut_over": "Cut over",
    "keep_staging": "Keep staging",
    "roll_back": "Roll back",
    "report": "Report",
    "look": "Look",
    "confirm": "Confirm",
    "leave": "Leave everything as it is",
    "replay": "Replay",
    "verify": "Verify",
    "assess": "Assess",
}
"""What the grid calls a task that carries no table; in logs and messages it has its id."""

CLEAR = "Its log ends with what is wrong and what to do. Do that, then clear this task, downstream included."

TASKS = {
    "preflight": "Holds source, plan and target against each other, and says everything that does not fit at once. "
    "Nothing is touched before it has passed.",
    "backup": "Takes the snapshot of the SQLite file that every later step reads. The application may go on writing; "
    "a change made after this moment is found before the cut-over, which then refuses.",
    "create_schema": "Makes the target's tables in the run's staging schema, without keys and indexes. Cleared, it "
    "begins the staging anew, and all tables are loaded again.",
    "cut": "Empties the staged table and divides the snapshot's rows into ranges of its key, which workers share. "
    "Cleared, all of the table is loaded again.",
    "rows": "Loads one range of the table: its rows, its quarantine and its figures in one transaction. Cleared alone, "
    "it loads only its own rows again; **Total** and what follows it have to run after it.",
    "total": "Sums up the ranges and holds them against the snapshot's count. Until it has, the table counts as not "
    "loaded.",
    "finish_schema": "Makes keys, indexes, foreign keys and views of the staged tables, and sets the sequences past "
    "the largest id ever used.",
    "decide": "Ends a rehearsal with its report. A real run goes on: to the question, or to the cut-over if the form "
    "has approved it.",
    "approve": "Waits for a person: **Required Actions** shows balance and verdict, and takes the answer. *Cut over* "
    "makes the migrated tables live; *Keep staging* ends the run without that, and the verified tables stay until the "
    "next run; *Roll back* drops them. Nobody answers for seven days: the staging is kept and the run ends failed; "
    "clear this task to be asked again.",
    "cut_over": "In one transaction: what was live moves into the run's retired schema, the staged tables take its "
    "place. It refuses, and changes nothing, when the source or anything staged has changed since it was verified.",
    "keep_staging": "Ends the run without a cut-over. The verified tables stay in the staging schema until the next "
    "run of the plan.",
    "roll_back": "Before a cut-over: drops the run's staging. After one: puts back what was live before, in one "
    "transaction, and keeps the migrated tables in the staging schema.",
    "report": "Writes the report and ends its log with the verdict. It fails when the migration is no success, for "
    "whatever reason: look at the first failed task of the run. It needs no clearing of its own.",
    "look": "Counts what a rollback would undo: the tables that go and come back, and the rows written since the "
    "cut-over. It only reads, and nobody waits for it.",
    "confirm": "Waits for a person: **Required Actions** shows what the rollback would undo and lose. Nobody answers "
    "for a day: nothing is rolled back and the run ends failed.",
    "leave": "Nothing was changed.",
    "replay": "Loads the rows in the quarantine again by the plan as it is now, and only them.",
    "verify": "Compares every value of the tables that were loaded again.",
    "assess": "Reads a copy of one moment of the file, and writes its plan and a report for people.",
}
ANSWERS = """*Cut over*: the migrated tables become live, and what is live now is set aside. *Keep staging*: nothing
becomes live, and the verified tables stay until the next run. *Roll back*: the verified tables are dropped.
"""
"""What each answer to the approval does, below the question."""
QUIET = ("decide", "approve", "keep_staging", "report", "confirm", "leave")
"""Tasks whose text says itself what to do."""


def task(task_id: str) -> dict[str, Any]:
    """The name and the text of a task, as its arguments."""
    text = TASKS[task_id] + ("" if task_id in QUIET else f"\n\n**If it fails:** {CLEAR}")
    return {"task_display_name": NAMES[task_id], "doc_md": text}


def migration(plan: Plan) -> str:
    """The text of a migration's DAG."""
    return f"""Moves SQLite → PostgreSQL by the plan `{plan.name}` and proves every value. Nothing that is live is
touched before **Cut over**.

| task | what it does |
|---|---|
| Preflight, Backup, Create schema | what fits and what does not; the snapshot; the tables in a staging schema |
| load | a COPY for each table, parents first |
| Finish schema | keys, indexes, foreign keys, views, sequences |
| verify | every value of every row against the snapshot |
| Approve | a person decides: cut over, keep the staging, or roll back |
| Cut over | the migrated tables become live, what was live is set aside |
| Report | the verdict; red whenever the migration is no success |

**To begin:** trigger a rehearsal, which is the default, and read its report. Then trigger it with *Real*.

**To mend a failed task:** its log ends with table, column, key and value, and what to do. Correct the plan
(`include/plans/{plan.name}.yaml`) or the target, then clear that task, downstream included: only it and what follows
run again. Loads read the snapshot, so a correction of the *source* needs a new run.

**Rows in the quarantine** cross by a corrected plan with `replay_{plan.name}`, before the cut-over.

**To go back after a cut-over:** trigger `rollback_{plan.name}`; it shows what it would undo, and asks.

**The report** is at the end of the log of *Report*, and as HTML and JSON where that log says.
"""


def replay(plan: Plan) -> str:
    """The text of a replay's DAG."""
    return f"""Sends the rows in a run's quarantine through the plan as it is now, and only them; then finishes and
verifies the tables that changed. For a run of `migrate_{plan.name}` that is not cut over yet.

Correct the `invalid:` of the column in `include/plans/{plan.name}.yaml` first. A row that still cannot cross fails
*Replay* by name, and nothing is changed. A change of a type or cast takes a whole load instead: clear
the table's task in load.
"""


def rollback(plan: Plan) -> str:
    """The text of a rollback's DAG."""
    return f"""Undoes a run of `migrate_{plan.name}`. After its cut-over: in one transaction the migrated tables leave
the live schema and what was live before comes back, exactly as it was. Of a run that was not cut over, the staging is
dropped.

**Look** counts what would go, what would come back, and every row that was written since. **Confirm** shows that
under *Required Actions* and asks; without a confirmation nothing happens. Rows written after the question was asked
are refused: clear *Look*, downstream included, to be asked with the new numbers.

Rows written since the cut-over are not destroyed: they stay in the run's staging schema, and no later run drops them.
"""


ASSESSMENT = """Reads any SQLite file (it is only read) and writes the plan of its migration, and a report: what is in
it, what each column becomes and why, and a grade. A: automatic. B: decisions to confirm, each with a proposal in the
plan. C: something that no proposal settles.

The DAGs of the plan, `migrate_`, `replay_` and `rollback_` with its name, appear within a minute. On grade B look for
TO CONFIRM in the plan, decide, and set `confirmed: true` there. The log of *Assess* ends with where plan and report
are.
"""
