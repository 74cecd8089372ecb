"""A task killed at any moment of any step: it is done again, and nothing tells that it ever was killed."""

from __future__ import annotations

import signal
from random import Random

import pytest

from tests.engine.support import in_a_process, kill_itself
from tests.faults.ledger import Ledger
from tests.faults.points import Points, moments
from tests.faults.world import STEPS, World

SEED = 20_261_126
EACH = 18
"""So many moments of each step, all where there are no more."""


@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_moment_and_done_again_leaves_what_an_undisturbed_run_leaves(
    world: World, ledger: Ledger, step: str
) -> None:
    number = len(moments(world, step))
    assert number > 4
    chosen = sorted(Random(f"{SEED} {step}").sample(range(1, number + 1), min(EACH, number)))
    faults = []
    for at in chosen:
        world.back_to(step)

        def killed(at: int = at) -> None:
            Points(world.job.home, at, kill_itself)
            STEPS[step](world.job)

        ended = in_a_process(killed)
        wrong = world.aftermath(step)
        outcome = "done again, same state" if ended == -signal.SIGKILL else f"not killed but ended with {ended}"
        ledger.tried("Kill", f"SIGKILL of the task in {step.split()[0]}", "another state" if wrong else outcome,
                     wrong=bool(wrong))  # fmt: skip
        if wrong or ended != -signal.SIGKILL:
            faults.append(f"moment {at} of {number}: {outcome} {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)
