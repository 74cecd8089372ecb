"""``assess_sqlite`` reads any SQLite file and writes its plan; a migration and a rollback DAG for it then appear."""

from __future__ import annotations

from airflow.sdk import DAG, task

import airflow_bridge as bridge
import airflow_forms as forms

with DAG(
    "assess_sqlite",
    dag_display_name="Assess a SQLite database",
    description="What is in it, what it becomes in PostgreSQL and why; writes the plan of its migration",
    doc_md=__doc__,
    schedule=None,
    params=forms.assessment(),
    default_args=bridge.TASK_DEFAULTS,
    tags=["migration"],
):
    task(task_id="assess")(bridge.assess_source)()
