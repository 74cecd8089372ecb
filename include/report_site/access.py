"""Who may see a run, by Airflow's own authentication and permissions, and which run a DAG's run is about.

A report shows values of the data as the logs of a migration's tasks do: whoever may read those may read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import Depends, HTTPException, Query
from sqlalchemy import select, tuple_

MIGRATIONS = re.compile(r"(migrate|replay|rollback)_([a-z][a-z0-9_]{0,39})")
"""The DAGs of a plan."""
Text = Annotated[str, Query(max_length=20_000, pattern=r"^[^\x00]*$")]
"""A name or key of the data in an address."""


@dataclass(frozen=True)
class Asked:
    """The run of a migration that somebody may see and asks for."""

    plan: str
    run_id: str

    @property
    def dag_id(self) -> str:
        """The DAG of the migration."""
        return f"migrate_{self.plan}"


@dataclass(frozen=True)
class DagRunFacts:
    """What Airflow itself knows of a run."""

    state: str
    triggered_by: str


def asked(dag_id: Text, run_id: Text, user: GetUserDep) -> Asked:
    """The run that the address names; of a rollback or replay, the run that its form names.

    HTTPException: 403 without access to the DAG (and to the migration's), 404 when there is no report.
    """
    _require(user, dag_id)
    named = MIGRATIONS.fullmatch(dag_id)
    if named is None:
        raise HTTPException(404, "This DAG is no migration, so its runs have no migration report.")
    kind, plan = named.groups()
    if kind != "migrate":
        _require(user, f"migrate_{plan}")
        run_id = _named_by(dag_id, run_id)
    return Asked(plan, run_id)


AskedDep = Annotated[Asked, Depends(asked)]


def readable_plans(user: GetUserDep) -> list[str]:
    """The plans whose migrations the user may see, those that have no plan file any more included."""
    ids = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return sorted(name.removeprefix("migrate_") for name in ids if MIGRATIONS.fullmatch(name) and name[0] == "m")


PlansDep = Annotated[list[str], Depends(readable_plans)]


def dag_runs(wanted: list[tuple[str, str]]) -> dict[tuple[str, str], DagRunFacts]:
    """What Airflow knows of the runs given by DAG and run id; one that was started without Airflow is not there."""
    with create_session() as session:
        found = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.triggering_user_name).where(
                tuple_(DagRun.dag_id, DagRun.run_id).in_(wanted)
            )
        )
        return {(dag, run): DagRunFacts(str(state), by or "") for dag, run, state, by in found}


def _require(user: Any, dag_id: str) -> None:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    may = get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.TASK_LOGS, details=details, user=user
    )
    if not may:
        raise HTTPException(403, f"You may not read the logs of the DAG {dag_id}, nor the reports of its runs.")
    with create_session() as session:
        if session.get(DagModel, dag_id) is None:  # rights to a DAG that is not there say nothing about its plan
            raise HTTPException(404, f"Airflow knows no DAG {dag_id} any more.")


def _named_by(dag_id: str, run_id: str) -> str:
    with create_session() as session:
        conf = session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    named = (conf or {}).get("run_id")
    if not isinstance(named, str) or not named:
        raise HTTPException(
            404,
            "This run took the newest run that it could, as its log says. Its report is among those of all migrations.",
        )
    return named
