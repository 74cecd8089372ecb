"""A task killed at any moment of any step: it is done again, and nothing tells that it ever was killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from random import Random

import pytest

from tests.conftest import Server
from tests.engine.support import in_a_process, kill_itself
from tests.faults.ledger import Ledger
from tests.faults.points import Points
from tests.faults.world import STEPS, World

SEED = 20_261_126
EACH = 18
"""So many moments of each step, all where there are no more."""


@pytest.fixture(scope="module")
def world(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(postgres_server, tmp_path_factory.mktemp("world"))
    yield world
    world.close()


def moments(world: World, step: str) -> int:
    """How many moments a step has."""
    world.back_to(step)
    told = world.folder / "moments"

    def count() -> None:
        points = Points(world.job.home)
        STEPS[step](world.job)
        told.write_text(str(points.seen))

    assert in_a_process(count) == 0
    return int(told.read_text())


@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_moment_and_done_again_leaves_what_an_undisturbed_run_leaves(
    world: World, ledger: Ledger, step: str
) -> None:
    number = moments(world, step)
    assert number > 4
    chosen = sorted(Random(f"{SEED} {step}").sample(range(1, number + 1), min(EACH, number)))
    following = list(world.visible)[list(STEPS).index(step) + 1]
    faults = []
    for at in chosen:
        world.back_to(step)

        def killed(at: int = at) -> None:
            Points(world.job.home, at, kill_itself)
            STEPS[step](world.job)

        ended = in_a_process(killed)
        wrong = world.left_behind()
        if world.seen() not in (world.visible[step], world.visible[following]):
            wrong += " live tables are neither as before the step nor as after it"
        wrong += world.go_on(step)
        outcome = "done again, same state" if ended == -signal.SIGKILL else f"not killed but ended with {ended}"
        ledger.tried("Kill", f"SIGKILL of the task in {step.split()[0]}", "another state" if wrong else outcome,
                     wrong=bool(wrong))  # fmt: skip
        if wrong or ended != -signal.SIGKILL:
            faults.append(f"moment {at} of {number}: {outcome} {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)
