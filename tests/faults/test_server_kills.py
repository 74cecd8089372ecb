"""The server killed with all its processes at any moment of any step: what was committed is there, the rest is done again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from random import Random
from select import select

import psutil
import pytest

from local.postgres import THROWAWAY_SETTINGS, Cluster, throwaway_cluster
from tests.conftest import with_role
from tests.engine.support import in_a_process
from tests.faults.ledger import Ledger
from tests.faults.points import Points, moments
from tests.faults.world import OUTCOMES, STEPS, World, code

SEED = 20_261_127
EACH = 4
"""So many moments of each step."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that keeps what it has committed, if only the machine goes on."""
    with throwaway_cluster(THROWAWAY_SETTINGS | {"synchronous_commit": "on", "full_page_writes": "on"}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(with_role(cluster.dsn(), secrets.token_urlsafe(16)), tmp_path_factory.mktemp("world"))
    yield world
    world.close()


def crash(cluster: Cluster) -> None:
    """Kill the server and all its processes, and start it again."""
    number = cluster.process()
    assert number is not None
    server = psutil.Process(number)
    everyone = [server, *server.children(recursive=True)]
    for process in everyone:
        process.kill()
    psutil.wait_procs(everyone, 20)
    cluster.start()


class Request:
    """How another process has something done by this one, and waits until it is done."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        (self.asked, self.ask), (self.told, self.tell) = os.pipe(), os.pipe()

    def send(self) -> None:
        """In the other process."""
        os.write(self.ask, b"?")
        os.read(self.told, 1)

    def serve(self) -> None:
        """In this process: do it, if it was asked for."""
        if select([self.asked], [], [], 0)[0]:
            os.read(self.asked, 1)
            self.act()
            os.write(self.tell, b"!")

    def close(self) -> None:
        for end in (self.asked, self.ask, self.told, self.tell):
            os.close(end)


@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_at_any_moment_of_a_step_costs_no_more_than_doing_it_again(
    world: World, cluster: Cluster, ledger: Ledger, step: str
) -> None:
    number = len(moments(world, step))
    faults = []
    for at in sorted(Random(f"{SEED} {step}").sample(range(1, number + 1), min(EACH, number))):
        world.back_to(step)
        request = Request(lambda: crash(cluster))

        def broken(at: int = at, request: Request = request) -> int:
            Points(world.job.home, at, request.send)
            return code(lambda: STEPS[step](world.job))

        ended = in_a_process(broken, meanwhile=request.serve)
        request.close()
        wrong = world.aftermath(step)
        wrong += "" if ended in OUTCOMES else f" ended with {ended}"
        outcome = "another state" if wrong else OUTCOMES[ended]
        ledger.tried("Kill", f"SIGKILL of the PostgreSQL server in {step.split()[0]}", outcome, wrong=bool(wrong))
        if wrong:
            faults.append(f"moment {at} of {number}: {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)
