"""The connection cut at any exchange, before the server has the statement or after it has done it: nothing is half done."""

from __future__ import annotations

import os
import socket
from random import Random

import psycopg
import pytest

from tests.engine.support import in_a_process
from tests.faults.ledger import Ledger
from tests.faults.points import Points, moments
from tests.faults.world import OUTCOMES, STEPS, World, code

SEED = 20_261_128
EACH = 8
"""So many exchanges of each step, and of each kind."""
FAULTS = {
    "sending": "connection cut before a statement of {}, or within COPY",
    "answered": "answer of a statement of {} lost, COMMIT among them",
}


def cut(world: World, step: str, at: int, kind: str) -> int:
    """Do the step with its connection cut there: 0 when it did it, 3 when it may be tried again, 4 with a sentence."""

    def broken() -> int:
        points = Points(world.job.home, at, lambda: None)

        def act() -> None:
            assert points.connection is not None
            with socket.socket(fileno=os.dup(points.connection.pgconn.socket)) as wire:
                wire.shutdown(socket.SHUT_RDWR)
            if kind == "answered":
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        points.act = act
        return code(lambda: STEPS[step](world.job))

    return in_a_process(broken)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_whose_connection_is_cut_is_done_again_and_leaves_what_an_undisturbed_run_leaves(
    world: World, ledger: Ledger, step: str, kind: str
) -> None:
    places = [place for place, found in enumerate(moments(world, step), 1) if found == kind]
    faults = []
    # The last exchange of a connection is the COMMIT of its work.
    for at in sorted({*Random(f"{SEED} {step} {kind}").sample(places, min(EACH, len(places))), places[-1]}):
        world.back_to(step)
        ended = cut(world, step, at, kind)
        wrong = world.aftermath(step)
        wrong += "" if ended in OUTCOMES else f" ended with {ended}"
        outcome = "another state" if wrong else OUTCOMES[ended]
        ledger.tried("Connection", FAULTS[kind].format(step.split()[0]), outcome, wrong=bool(wrong))
        if wrong:
            faults.append(f"exchange {at}: {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)
