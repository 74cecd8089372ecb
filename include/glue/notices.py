"""Tells people what became of a run, or that one waits for them, by whichever of Airflow's notifiers is configured.

The Airflow Variable ``migration_notifier`` names it as JSON: ``{"class": "airflow.providers.smtp.notifications.smtp
.SmtpNotifier", "kwargs": {"to": "ops@example.org", "subject": "{{ migration.title }}", "html_content":
"{{ migration.text | e }}"}}``. Without it, the notice is a line in the task's log. In ``kwargs`` ``migration`` has the
fields of :class:`Facts`. A notifier that cannot be made or fails is told in the log and stops nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pkgutil import resolve_name
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, Variable

from migration.errors import masked

log = logging.getLogger("migration")

VARIABLE = "migration_notifier"
REASON = "failure"
"""The key of the XCom that keeps why a task failed."""
REASONS = 3
"""So many reasons of a failure are told."""


@dataclass(frozen=True)
class Facts:
    """What a notice says; no value is a secret."""

    event: str
    """``asked`` (somebody has to decide), ``succeeded`` or ``failed``."""
    plan: str
    run: str
    title: str
    """The DAG's title and what happened, in a line."""
    text: str
    """Everything, in a few lines."""
    url: str
    """Where to look or to answer in Airflow's UI."""


class LogNotifier(BaseNotifier):
    """A line in the log of the task."""

    template_fields = ("message",)

    def __init__(self, message: str = "{{ migration.text }}") -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        """Write it."""
        log.info("notice: %s", " ".join(self.message.split()))


class Notice(BaseNotifier):
    """Tells of one event of a run of a plan, by the notifier that is configured when it happens."""

    def __init__(self, event: str, plan_name: str) -> None:
        super().__init__()
        self.event, self.plan_name = event, plan_name

    def notify(self, context: Any) -> None:
        """Tell it; whatever goes wrong with that is logged and goes no further."""
        try:
            notifier = configured()
        except Exception as error:
            log.warning("%s", _unusable(error))
            notifier = LogNotifier()
        try:
            notifier({**context, "migration": asdict(facts(self.event, self.plan_name, context))})
        except Exception as error:
            log.warning("The notice was not sent: %s: %s", type(error).__name__, masked(str(error)))


def configured() -> BaseNotifier:
    """The notifier that the Variable names; any exception says why there is none."""
    named = Variable.get(VARIABLE, default=None, deserialize_json=True)
    if named is None:
        return LogNotifier()
    chosen = resolve_name(named["class"])
    if not issubclass(chosen, BaseNotifier):
        raise TypeError(f"{named['class']} is no notifier")
    made: BaseNotifier = chosen(**named.get("kwargs", {}))
    return made


def check() -> None:
    """Say in the log when the notifier cannot be made: before the first notice would be lost."""
    try:
        configured()
    except Exception as error:
        log.warning("%s", _unusable(error))


def _unusable(error: Exception) -> str:
    return (
        f"The notifier that the Variable {VARIABLE} names cannot be made ({type(error).__name__}: "
        f"{masked(str(error))}); notices go to the log alone. Correct it under Admin → Variables."
    )


def keep_reason(context: Any) -> None:
    """Callback of a task that failed: keeps why for the run's notice."""
    context["ti"].xcom_push(key=REASON, value=masked(str(context.get("exception") or "It was stopped.")))


def facts(event: str, plan_name: str, context: Any) -> Facts:
    """What there is to tell of the running task's run."""
    ti, dag = context["ti"], context["dag"]
    happened, more = {"asked": _asked, "succeeded": _succeeded, "failed": _failed}[event](context)
    url = _run_url(ti.dag_id, ti.run_id) + (f"/tasks/{ti.task_id}/required_actions" if event == "asked" else "")
    title = f"{dag.dag_display_name}: {happened}"
    return Facts(event, plan_name, ti.run_id, title, "\n".join([f"{title} (run {ti.run_id})", *more, url]), url)


def _asked(context: Any) -> tuple[str, list[str]]:
    return "a decision is needed", [context["task"].subject]


def _succeeded(context: Any) -> tuple[str, list[str]]:
    ended = context["ti"].xcom_pull(task_ids=context["ti"].task_id) or {}
    return str(ended.get("status", "done")).replace("_", " "), [ended["summary"]] if "summary" in ended else []


def _failed(context: Any) -> tuple[str, list[str]]:
    return "failed", list(_reasons(context)) or [masked(str(context.get("exception") or "It was stopped."))]


def _reasons(context: Any) -> Iterator[str]:
    """Why tasks of the run failed before this one, in their own words."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = [task for task, state in states.items() if state == "failed" and task != ti.task_id]
    for task in failed[:REASONS]:
        yield f"{task}: {ti.xcom_pull(task_ids=task, key=REASON)}"
    if len(failed) > REASONS:
        yield f"and {len(failed) - REASONS} more tasks"


def _run_url(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
