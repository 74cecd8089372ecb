"""What people are asked while a DAG runs, by Airflow's human-in-the-loop operators."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator

import airflow_bridge as bridge

ANSWERS = {"Cut over": "cut_over", "Keep staging": "keep_staging", "Roll back": "roll_back"}
"""What a person can answer, and the task that follows."""


class Approval(HITLBranchOperator):
    """Asks whether to cut over, and records in the target who answered what."""

    def __init__(self, *, plan_name: str, **kwargs: Any) -> None:
        super().__init__(options=list(ANSWERS), options_mapping=ANSWERS, multiple=False, **kwargs)
        self.plan_name = plan_name

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Continue with the answer; a timeout answers with the default, which keeps the staging."""
        if "error" not in event:
            from migration import steps

            answer = ANSWERS[event["chosen_options"][0]].replace("keep_staging", "keep")
            steps.approve(bridge.job(self.plan_name), answer, _name(event.get("responded_by_user")))
        return super().execute_complete(context, event)


def _name(user: Any) -> str:
    if isinstance(user, dict):
        return str(user.get("name") or user.get("id") or "unknown")
    return str(getattr(user, "name", None) or user or "nobody (timed out)")
