"""What the bridge decides and records."""

from __future__ import annotations

import pytest

from glue import bridge
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
