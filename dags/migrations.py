"""For every plan in include/plans: ``migrate_<plan>`` moves and proves it, ``replay_<plan>`` sends the rows in the
quarantine through the plan as it is now, ``rollback_<plan>`` undoes it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, TriggerRule, literal, task

from glue import assets, bridge, forms, handbook, questions
from glue.notices import Notice, keep_reason
from migration.batches import Batch, batches
from migration.errors import PlanError
from migration.plan import Plan, plan_files, read_plan


def migration(plan: Plan) -> DAG:
    """The DAG of one plan, in the order in which it is read."""
    name = plan.name
    with DAG(
        f"migrate_{name}",
        dag_display_name=f"Migrate {plan.title}",
        description=f"{plan.title}: SQLite → PostgreSQL, every value proved before the cut-over",
        doc_md=handbook.migration(plan),
        schedule=None,
        max_active_runs=1,
        params=forms.migration(),
        default_args=bridge.TASK_DEFAULTS | {"on_failure_callback": keep_reason},
        tags=["migration"],
    ) as dag:

        def step(function: str, task_id: str | None = None, **options: Any) -> Any:
            named = {"task_id": task_id or function, **handbook.task(task_id or function)}
            return task(**named, **options)(bridge.run_step)(name, function)

        create = step("preflight") >> step("backup") >> step("create_schema")

        parts = batches(plan)

        def of_tables(function: str, part: Batch, **named: Any) -> Any:
            tables: Any = map(literal, part.tables)  # a table's name is no template
            return task(**named, pool=bridge.COPY_POOL)(bridge.run_step)(name, function, *tables)

        def each(function: str, part: Batch) -> Any:
            return of_tables(function, part, task_id=part.task_id, task_display_name=part.title, doc_md=part.doc)

        def in_ranges(part: Batch) -> TaskGroup:
            table: Any = literal(part.tables[0])
            with TaskGroup(part.task_id, group_display_name=part.title, tooltip="A COPY per range of its key") as group:
                cut = task(task_id="cut", **handbook.task("cut"), pool=bridge.COPY_POOL)(bridge.cut)(name, table)
                rows = (
                    task(
                        task_id="rows",
                        **handbook.task("rows"),
                        map_index_template="{{ task.op_kwargs['part']['label'] }}",
                        pool=bridge.COPY_POOL,
                    )(bridge.load_range)
                    .partial(plan_name=name, table=table)
                    .expand(part=cut)
                )
                rows >> of_tables("total", part, task_id="total", **handbook.task("total"))
            return group

        with TaskGroup("load", group_display_name="Load", tooltip="One COPY per table, in foreign-key order"):
            loads = {part.task_id: in_ranges(part) if part.split else each("load", part) for part in parts}
            for part in parts:
                before = [loads[other] for other in part.after] or [create]
                before >> loads[part.task_id]

        finish = step("finish_schema")
        list(loads.values()) >> finish

        with TaskGroup(
            "verify",
            group_display_name="Verify",
            tooltip="Every value of every row, by code that shares nothing with the loader",
        ):
            verifications = [each("verify", part) for part in parts]

        decide = task.branch(task_id="decide", **handbook.task("decide"))(bridge.next_step)(name)
        approve = questions.Approval(
            task_id="approve",
            **handbook.task("approve"),
            plan_name=name,
            subject=literal(f"{plan.title}: cut over to PostgreSQL?"),  # nor is the title, which may be a file's name
            body="{{ ti.xcom_pull(task_ids='decide', key='summary') }}\n" + handbook.ANSWERS,
            response_timeout=timedelta(days=7),
        )
        cut_over = step(
            "cut_over", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, outlets=[assets.live_tables(name)]
        )
        keep = step("keep", task_id="keep_staging")
        undo = step("rollback", task_id="roll_back")
        report = task(
            task_id="report",
            **handbook.task("report"),
            trigger_rule=TriggerRule.ALL_DONE,
            on_success_callback=Notice("succeeded", name),
            on_failure_callback=Notice("failed", name),
        )(bridge.write_report)(name)

        finish >> verifications >> decide >> [approve, cut_over]
        approve >> [cut_over, keep, undo]
        [*loads.values(), *verifications, decide, cut_over, keep, undo] >> report
    return dag


def replay(plan: Plan) -> DAG:
    """The DAG that loads a run's quarantined rows by the plan's present policies, and only them."""
    with DAG(
        f"replay_{plan.name}",
        dag_display_name=f"Replay the quarantine of {plan.title}",
        description=f"{plan.title}: rows set aside cross by the plan as it is now, before the cut-over",
        doc_md=handbook.replay(plan),
        schedule=None,
        max_active_runs=1,
        params=forms.replay(),
        default_args=bridge.TASK_DEFAULTS | {"on_failure_callback": Notice("failed", plan.name)},
        tags=["migration"],
    ) as dag:

        def step(task_id: str, function: str, **options: Any) -> Any:
            return task(task_id=task_id, **handbook.task(task_id), **options)(bridge.run_replay)(plan.name, function)

        (
            step("replay", "replay_quarantine")
            >> step("finish_schema", "finish_schema")
            >> step("verify", "verify_outdated", on_success_callback=Notice("succeeded", plan.name))
        )
    return dag


def rollback(plan: Plan) -> DAG:
    """The DAG that undoes a run of one plan, once somebody has seen what that means."""
    with DAG(
        f"rollback_{plan.name}",
        dag_display_name=f"Roll back {plan.title}",
        description=f"{plan.title}: put back what was live before a cut-over, or drop a run's staging",
        doc_md=handbook.rollback(plan),
        schedule=None,
        max_active_runs=1,
        params=forms.rollback(),
        default_args=bridge.TASK_DEFAULTS | {"on_failure_callback": Notice("failed", plan.name)},
        tags=["migration"],
    ) as dag:
        look = task.branch(task_id="look", **handbook.task("look"))(bridge.look)(plan.name)
        confirm = questions.Confirmation(
            task_id="confirm",
            **handbook.task("confirm"),
            plan_name=plan.name,
            subject="{{ ti.xcom_pull(task_ids='look', key='question') }}",
            body="{{ ti.xcom_pull(task_ids='look', key='body') }}",
            response_timeout=timedelta(days=1),
        )
        undo = task(
            task_id="roll_back",
            **handbook.task("roll_back"),
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            outlets=[assets.live_tables(plan.name)],
            on_success_callback=Notice("succeeded", plan.name),
        )(bridge.roll_back)(plan.name)
        leave = EmptyOperator(task_id="leave", **handbook.task("leave"))

        look >> [confirm, undo]
        confirm >> [undo, leave]
    return dag


def unreadable(path: Path, fault: str) -> DAG:
    """A DAG that stands in for a plan that cannot be read, and says why; the other plans' DAGs are not affected."""
    with DAG(f"migrate_{path.stem}", schedule=None, description=fault, doc_md=fault, tags=["migration"]) as dag:
        task(task_id="read_plan", retries=0)(bridge.check_plan)(path.stem)
    return dag


for path in plan_files():
    try:
        plan = read_plan(path)
        dags = [migration(plan), replay(plan), rollback(plan)]
    except PlanError as error:
        dags = [unreadable(path, str(error))]
    globals().update({dag.dag_id: dag for dag in dags})
