"""What people are asked while a DAG runs, by Airflow's human-in-the-loop operators.

The Airflow Variable ``migration_approvers`` restricts who may answer: the ids of users as the auth manager knows them,
parted by commas. Without it everybody may who can answer required actions of the DAG.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Variable
from airflow.sdk.execution_time.hitl import HITLUser

from glue import bridge
from glue.notices import Notice
from glue.telling import told

APPROVERS = "migration_approvers"


class Question(HITLBranchOperator):
    """Asks which of several tasks follows. ``answers``: what a person can answer, and the task that follows."""

    def __init__(self, *, plan_name: str, answers: dict[str, str], **kwargs: Any) -> None:
        notice = Notice("asked", plan_name)
        super().__init__(options=list(answers), options_mapping=answers, multiple=False, notifiers=[notice], **kwargs)
        self.plan_name = plan_name

    def execute(self, context: Any) -> Any:
        """Ask, and wait without a process for the answer."""
        named = [user.strip() for user in Variable.get(APPROVERS, default="").split(",")]
        self.assigned_users = [HITLUser(id=user, name=user) for user in named if user]
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Continue with the answer, once it is recorded."""
        if "error" not in event:
            with told():
                self.answered(self.options_mapping[event["chosen_options"][0]], event)
        return super().execute_complete(context, event)

    def answered(self, task: str, event: dict[str, Any]) -> None:
        """Take note of the answer. ``event["timedout"]``: nobody gave it, it is the default."""
        raise NotImplementedError


class Approval(Question):
    """Asks whether to cut over, and records in the target who answered what."""

    def __init__(self, **kwargs: Any) -> None:
        answers = {"Cut over": "cut_over", "Keep staging": "keep_staging", "Roll back": "roll_back"}
        super().__init__(answers=answers, defaults="Keep staging", **kwargs)

    def answered(self, task: str, event: dict[str, Any]) -> None:
        from migration import steps

        steps.approve(
            bridge.job(self.plan_name),
            task.replace("keep_staging", "keep"),
            responder(event),
            timed_out=bool(event.get("timedout")),
        )


class Confirmation(Question):
    """Asks whether to roll back; without an answer in time it fails, and nothing is rolled back."""

    def __init__(self, **kwargs: Any) -> None:
        answers = {"Roll back": "roll_back", "Leave everything as it is": "leave"}
        super().__init__(answers=answers, defaults="Leave everything as it is", **kwargs)

    def answered(self, task: str, event: dict[str, Any]) -> None:
        from migration.errors import MigrationError

        if event.get("timedout"):
            raise MigrationError(
                "Nobody answered in time: nothing was rolled back. Clear the look task, downstream included, to be "
                "asked again."
            )
        self.log.info("%s answered: %s", responder(event), event["chosen_options"][0])


def responder(event: dict[str, Any]) -> str:
    """Who answered, by name."""
    user = event.get("responded_by_user")
    if isinstance(user, dict):
        return str(user.get("name") or user.get("id") or "unknown")
    return str(getattr(user, "name", None) or user or "nobody in time")
