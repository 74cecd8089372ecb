"""Steps whose server vanishes without a word: the network of a namespace of its own goes down in the middle of a statement.

Run as ``unshare --net python -m tests.faults.silence FOLDER``; writes a line of JSON for each point.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from local.postgres import throwaway_cluster
from migration.postgres import target
from tests.conftest import with_role
from tests.engine.support import in_a_process
from tests.faults.points import Points, moments
from tests.faults.test_server_kills import Request
from tests.faults.world import STEPS, World, code

SEED = 20_261_202
FAST = {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 2, "tcp_user_timeout": 3000}
"""In place of the product's own, which take 60 s."""


def network(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def hurried() -> None:
    """Let this process find out within seconds what takes the product a minute."""
    connect = psycopg.connect

    def fast(*arguments: Any, **named: Any) -> Any:
        return connect(*arguments, **named | FAST)

    psycopg.connect = fast
    target.CONNECT_SECONDS = 2
    target.SETTINGS = target.SETTINGS.replace("idle=30", "idle=1").replace("interval=10", "interval=1")


def tried(world: World, step: str, at: int) -> dict[str, Any]:
    """What comes of the step when the network goes down at that moment."""
    world.back_to(step)
    request = Request(lambda: network("down"))

    def broken() -> int:
        hurried()
        Points(world.job.home, at, request.send)
        return code(lambda: STEPS[step](world.job))

    ended = in_a_process(broken, seconds=90, meanwhile=request.serve)
    request.close()
    network("up")
    return {"step": step, "at": at, "ended": ended, "wrong": world.aftermath(step)}


def main(folder: Path) -> None:
    network("up")
    with throwaway_cluster() as cluster:
        world = World(with_role(cluster.dsn(), secrets.token_urlsafe(16)), folder)
        for step in STEPS:
            kinds = moments(world, step)
            places = [place for place, kind in enumerate(kinds, 1) if kind == "sending"]
            # Not at the first exchanges: by then nothing has been done.
            at = Random(f"{SEED} {step}").choice(places[len(places) // 3 :])
            print(json.dumps(tried(world, step, at)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
