"""Answers to what a DAG asks while ``dag.test()`` runs it, as Airflow's API and its scheduler record them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from sqlalchemy import select


@contextmanager
def answered(task: str, option: str | None, by: str = "Ada") -> Iterator[list[dict[str, Any]]]:
    """Whenever ``task`` asks meanwhile, it gets this answer; with None nobody answers and the time is up.

    Gives the questions, each as Airflow's row of it.
    """
    asked: list[dict[str, Any]] = []
    over = threading.Event()

    def answer() -> None:
        while not over.wait(0.3):
            with create_session() as session:
                waiting = select(TaskInstance).where(
                    TaskInstance.task_id == task, TaskInstance.state == "awaiting_input"
                )
                for ti in session.scalars(waiting):
                    detail = session.scalars(select(HITLDetail).where(HITLDetail.ti_id == ti.id)).one()
                    asked.append({n: getattr(detail, n) for n in ("subject", "body", "options", "assignees")})
                    detail.chosen_options = list(detail.defaults or []) if option is None else [option]
                    detail.responded_by = None if option is None else {"id": by.lower(), "name": by}
                    detail.responded_at = datetime.now(UTC)
                    payload = detail.as_resume_event_payload(timedout=option is None)
                    event = TriggerEvent(payload)  # type: ignore[no-untyped-call]
                    handle_event_submit(event, task_instance=ti, session=session)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()
