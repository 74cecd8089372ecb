"""``assess_sqlite`` reads any SQLite file and writes its plan; a migration and a rollback DAG for it then appear."""

from __future__ import annotations

from airflow.sdk import DAG, task

from glue import bridge, forms, handbook
from glue.notices import Notice

with DAG(
    "assess_sqlite",
    dag_display_name="Assess a SQLite database",
    description="What is in it, what it becomes in PostgreSQL and why; writes the plan of its migration",
    doc_md=handbook.ASSESSMENT,
    schedule=None,
    params=forms.assessment(),
    default_args=bridge.TASK_DEFAULTS | {"on_failure_callback": Notice("failed", "")},
    tags=["migration"],
):
    task(task_id="assess", **handbook.task("assess"), on_success_callback=Notice("succeeded", ""))(
        bridge.assess_source
    )()
