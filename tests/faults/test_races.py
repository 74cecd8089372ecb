"""Two of a kind at once: one wins, the other is told or does it again, and what is left is what one alone leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from random import Random

import pytest

from migration import steps
from migration.errors import TransientError
from migration.job import Job
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, TABLES, World, code, differences, plan

SEED = 20_261_130
EACH = 6
"""So many starts of each race: the second comes up to 0.15 s after the first."""
LATEST = 0.15
OUTCOMES = {0: "done", 3: "told to try again", 4: "refused by a sentence"}
_FORK = get_context("fork")


def together(*works: tuple[float, Callable[[], object]]) -> list[int]:
    """Begin each of them after so many seconds, in a process of its own; 0 done, 3 or 4 told, others as they ended."""
    gate = _FORK.Barrier(len(works))

    def run(wait: float, work: Callable[[], object]) -> None:
        gate.wait(30)
        time.sleep(wait)
        raise SystemExit(code(work))

    processes = [_FORK.Process(target=run, args=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        if process.exitcode is None:
            process.kill()
            process.join()
    return [int(process.exitcode or 0) for process in processes]


def outcome(ended: Sequence[int]) -> str:
    return ", ".join(sorted(OUTCOMES.get(number, f"ended with {number}") for number in ended))


def delays(name: str) -> list[tuple[float, float]]:
    """When the two begin: now one, now the other first."""
    drawn = Random(f"{SEED} {name}")
    return [(0.0, 0.0), *((0.0, drawn.uniform(0, LATEST)) for _ in range(EACH - 1))]


@pytest.mark.parametrize("step", STEPS)
def test_a_task_cleared_while_it_still_runs_leaves_what_one_alone_leaves(
    world: World, ledger: Ledger, step: str
) -> None:
    faults = []
    for waits in delays(step):
        world.back_to(step)
        ended = together(*((wait, lambda: STEPS[step](world.job)) for wait in waits))
        wrong = world.aftermath(step)
        if not set(ended) <= set(OUTCOMES):
            wrong += f" ended with {ended}"
        ledger.tried("Race", f"{step.split()[0]} twice at once", outcome(ended), wrong=bool(wrong))
        if wrong:
            faults.append(f"{waits}: {ended} {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)


def migrate(job: Job) -> None:
    """All steps up to the report of a success."""
    for name in list(STEPS)[: list(STEPS).index("report") + 1]:
        for attempt in range(4):
            try:
                STEPS[name](job)
            except TransientError:
                if attempt == 3:
                    raise
                time.sleep(0.2)
            else:
                break


def another(world: World, run: str) -> Job:
    return replace(world.job, run_id=run)


def settled(world: World, job: Job, wrong: str = "") -> str:
    """A run of its own after the race: the live tables must be what they are after any run, and nothing else be left."""
    wrong += world.left_behind()
    migrate(job)
    if world.seen() != world.visible["rollback"]:
        wrong += " other rows are live"
    schemas = [name for (name,) in world.state()["schemas"] if name.startswith("staging")]
    return wrong + (f" left: {schemas}" if schemas else "")


@pytest.mark.parametrize("waits", delays("twice"))
def test_the_same_plan_triggered_twice_at_once_makes_one_of_them_live_and_tells_the_other(
    world: World, ledger: Ledger, waits: tuple[float, float]
) -> None:
    world.back_to("preflight")
    first, second = another(world, "first"), another(world, "second")
    ended = together((waits[0], lambda: migrate(first)), (waits[1], lambda: migrate(second)))
    wrong = "" if set(ended) <= set(OUTCOMES) else f"ended with {ended}"
    if 0 in ended and world.seen() != world.visible["rollback"]:
        wrong += " other rows are live"
    if 0 not in ended and world.seen() not in (world.visible["preflight"], world.visible["rollback"]):
        wrong += " half of the rows are live"
    wrong = settled(world, another(world, "third"), wrong)
    ledger.tried("Race", "the same plan twice at once", outcome(ended), wrong=bool(wrong))
    assert not wrong


@pytest.mark.parametrize("waits", delays("two plans"))
def test_two_plans_into_one_database_at_once_both_arrive(
    world: World, ledger: Ledger, waits: tuple[float, float]
) -> None:
    world.back_to("preflight")
    other = replace(world.job, run_id="another", plan=plan("stock", "stock_"))
    ended = together((waits[0], lambda: migrate(world.job)), (waits[1], lambda: migrate(other)))
    wrong = "" if ended == [0, 0] else f"ended with {ended}"
    expected = world.visible["rollback"]
    if world.seen() != expected | {f"stock_{table}": rows for table, rows in expected.items()}:
        wrong += " other rows are live"
    wrong += world.left_behind()
    ledger.tried("Race", "two plans into one database at once", outcome(ended), wrong=bool(wrong))
    assert not wrong


AGAINST: dict[str, tuple[str, Callable[[Job], object]]] = {
    "rollback during a load": ("load children", steps.rollback),
    "rollback during finish_schema": ("finish_schema", steps.rollback),
    "rollback during a verification": ("verify children", steps.rollback),
    "rollback during the cut-over": ("cut_over", steps.rollback),
    "create_schema during a load": ("load children", steps.create_schema),
    "replay during a verification": ("verify children", lambda job: steps.replay_quarantine(job)),
    "load during a verification": ("verify children", lambda job: steps.load(job, "children")),
    "load during finish_schema": ("finish_schema", lambda job: steps.load(job, "notes")),
    "load during the cut-over": ("cut_over", lambda job: steps.load(job, "notes")),
    "finish_schema during the cut-over": ("cut_over", steps.finish_schema),
    "a newer run during a load": ("load children", lambda job: steps.preflight(replace(job, run_id="newer"))),
    "a newer run during a verification": ("verify children", lambda job: steps.preflight(replace(job, run_id="newer"))),
    "a newer run during the cut-over": ("cut_over", lambda job: steps.preflight(replace(job, run_id="newer"))),
}


@pytest.mark.parametrize("race", AGAINST)
def test_a_step_against_another_that_undoes_it_leaves_no_half_of_either(
    world: World, ledger: Ledger, race: str
) -> None:
    step, other = AGAINST[race]
    faults = []
    for waits in delays(race):
        world.back_to(step)
        ended = together((waits[0], lambda: STEPS[step](world.job)), (waits[1], lambda: other(world.job)))
        wrong = "" if set(ended) <= set(OUTCOMES) else f"ended with {ended}"
        if world.seen() not in (world.visible[step], world.visible["rollback"]):
            wrong += " half of the rows are live"
        wrong = settled(world, another(world, "afterwards"), wrong)
        ledger.tried("Race", race, outcome(ended), wrong=bool(wrong))
        if wrong:
            faults.append(f"{waits}: {wrong}")
    assert not faults, f"seed {SEED}: " + "\n".join(faults)


@pytest.mark.parametrize("waits", delays("loads"))
def test_all_tables_of_a_level_loaded_and_verified_at_once_are_what_they_are_one_by_one(
    world: World, ledger: Ledger, waits: tuple[float, float]
) -> None:
    world.back_to("load parents")
    loads = together(
        *((wait, lambda t=t: steps.load(world.job, t)) for wait, t in zip(waits, ("parents", "notes"), strict=True))
    )
    steps.load(world.job, "children")
    steps.finish_schema(world.job)
    proofs = together(*((0, lambda t=t: steps.verify(world.job, t)) for t in TABLES))
    steps.cut_over(world.job)
    steps.require_success(world.job)
    wrong = differences(world.states["report"], world.state()) + world.left_behind()
    ledger.tried("Race", "tables loaded and verified at once", outcome([*loads, *proofs]), wrong=bool(wrong))
    assert [*loads, *proofs] == [0] * 5
    assert not wrong
