"""What never answers or never lets go: every step gives up by a sentence, and nobody has to wait for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from local.files import ROOT
from migration.errors import MigrationError, TransientError
from migration.postgres import moving, target
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, World

BLOCKERS = {
    "a reader in an open transaction": "SELECT count(*) FROM public.parents",
    "a writer in an open transaction": "INSERT INTO public.parents VALUES (7777, 'not committed')",
    "a lock held on a live table": "LOCK TABLE public.children IN SHARE MODE",
}


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_takes_the_connection_and_never_answers_is_given_up(
    world: World, ledger: Ledger, silent: int, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CONNECT_SECONDS", 2)
    world.back_to(step)
    deaf = replace(world.job, target=psycopg.conninfo.make_conninfo(world.dsn, host="127.0.0.1", port=silent))
    told = ""
    try:
        STEPS[step](deaf)
    except TransientError as error:
        told = str(error)
    wrong = ("" if told else "no sentence") + world.aftermath(step)
    ledger.tried("Connection", "server that never answers", "a sentence, done again, same state", wrong=bool(wrong))
    assert not wrong


@pytest.mark.parametrize("blocker", BLOCKERS)
@pytest.mark.parametrize("step", ["cut_over", "rollback"])
def test_a_cut_over_behind_a_lock_gives_up_lets_readers_through_and_can_be_done_again(
    world: World, ledger: Ledger, step: str, blocker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "SECONDS", 1.5)
    world.back_to(step)
    with psycopg.connect(world.dsn) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(BLOCKERS[blocker].encode())
        moved = pool.submit(STEPS[step], world.job)
        served = 0
        while not moved.done():
            with psycopg.connect(world.dsn, options="-c statement_timeout=5s") as reader:
                reader.execute("SELECT count(*) FROM public.parents, public.children").fetchall()
            served += 1
        told = moved.exception()
        holder.rollback()
    wrong = "" if isinstance(told, MigrationError) else f"ended with {told!r}"
    wrong += "" if served else " nobody was served"
    wrong += world.aftermath(step)
    ledger.tried("Connection", f"{step} behind {blocker}", "gave up, readers served, done again, same state",
                 wrong=bool(wrong))  # fmt: skip
    assert not wrong


def test_a_server_that_vanishes_in_the_middle_of_a_statement_is_given_up(tmp_path: Path, ledger: Ledger) -> None:
    command = ["unshare", "--net", sys.executable, "-m", "tests.faults.silence", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    points = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    for point in points:
        wrong = point["wrong"] or ("" if point["ended"] in (0, 3) else f"ended with {point['ended']}")
        outcome = "given up, done again, same state" if point["ended"] else "done all the same, same state"
        ledger.tried("Connection", "server gone without a word", outcome, wrong=bool(wrong))
    assert [p for p in points if p["wrong"] or p["ended"] not in (0, 3)] == []
    assert [p["step"] for p in points] == list(STEPS)
