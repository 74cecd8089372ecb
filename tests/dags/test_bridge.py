"""What the bridge decides and records."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.standard.operators.hitl import HITLBranchOperator

import airflow_bridge as bridge
import airflow_questions as questions
from migration.job import Params


@pytest.mark.parametrize(
    ("mode", "approval", "task"),
    [
        ("rehearsal", "ask", "report"),
        ("rehearsal", "given", "report"),
        ("cut_over", "ask", "approve"),
        ("cut_over", "given", "cut_over"),
    ],
)
def test_a_rehearsal_never_reaches_the_cut_over_and_a_real_run_asks_unless_approved(
    mode: str, approval: str, task: str
) -> None:
    assert bridge.following(Params(mode=mode, approval=approval)) == task


@pytest.mark.parametrize(
    ("option", "answer"), [("Cut over", "cut_over"), ("Keep staging", "keep"), ("Roll back", "roll_back")]
)
def test_an_answer_is_recorded_with_who_gave_it(monkeypatch: pytest.MonkeyPatch, option: str, answer: str) -> None:
    recorded: list[tuple[str, str]] = []
    followed: list[dict[str, Any]] = []
    monkeypatch.setattr("migration.steps.approve", lambda job, answer, by: recorded.append((answer, by)))
    monkeypatch.setattr(bridge, "job", lambda plan: None)
    monkeypatch.setattr(HITLBranchOperator, "execute_complete", lambda self, context, event: followed.append(event))
    operator = questions.Approval(task_id="approve", plan_name="widgettdc", subject="?")
    event = {"chosen_options": [option], "params_input": {}, "responded_by_user": {"id": "7", "name": "Ada"}}
    operator.execute_complete({}, event)
    assert recorded == [(answer, "Ada")]
    assert followed == [event]
