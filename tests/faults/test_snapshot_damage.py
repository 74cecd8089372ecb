"""The snapshot damaged, replaced or gone between two steps: no cut-over of anything that was not taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest

from migration.errors import MigrationError
from tests.engine.support import database
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, World, differences

SEED = 20_261_129
FLIPS = 20
"""Bytes flipped before each of the steps, one at a time."""
BEFORE = ("load parents", "load notes", "verify children", "cut_over")


def _flip(snapshot: Path, at: int) -> None:
    data = bytearray(snapshot.read_bytes())
    data[at] ^= 0x41
    snapshot.write_bytes(data)


def _truncate(snapshot: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-4096])


def _replace(snapshot: Path) -> None:
    snapshot.unlink()
    database(snapshot, "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)")


def _older(snapshot: Path) -> None:
    database(snapshot, "UPDATE parents SET name = name || '!' WHERE id = 7")


def _no_manifest(snapshot: Path) -> None:
    (snapshot.parent / "manifest.json").unlink()


def _another_manifest(snapshot: Path) -> None:
    manifest = snapshot.parent / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))


def _gone(snapshot: Path) -> None:
    shutil.rmtree(snapshot.parent)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": _truncate,
    "replaced by another database": _replace,
    "written to": _older,
    "without its manifest": _no_manifest,
    "with another manifest": _another_manifest,
    "gone": _gone,
}


def refused(world: World, step: str) -> str:
    """Go on from the step to the report; the step that refuses by a sentence, or nothing."""
    names = list(STEPS)
    for name in names[names.index(step) : names.index("report") + 1]:
        try:
            STEPS[name](world.job)
        except MigrationError:
            return name.split()[0]
    return ""


def damaged(world: World, ledger: Ledger, step: str, fault: str, damage: Callable[[Path], None]) -> None:
    world.back_to(step)
    snapshot = world.job.folder / "snapshot.db"
    snapshot.chmod(0o640)
    damage(snapshot)
    by = refused(world, step)
    wrong = world.left_behind()
    if not by:  # what a manifest says besides is recorded in the target as well
        wrong += differences(world.states["report"], world.state())
    elif world.seen() != world.visible[step]:
        wrong += "live tables changed"
    ledger.tried("Source", fault, f"refused by {by}" if by else "not needed, same state", wrong=bool(wrong))
    assert not wrong


@pytest.mark.parametrize("fault", DAMAGES)
@pytest.mark.parametrize("step", BEFORE)
def test_a_snapshot_that_is_not_what_was_taken_is_never_cut_over(
    world: World, ledger: Ledger, step: str, fault: str
) -> None:
    damaged(world, ledger, step, f"snapshot {fault}", DAMAGES[fault])


@pytest.mark.parametrize("step", BEFORE)
def test_a_snapshot_with_one_byte_flipped_is_never_cut_over(world: World, ledger: Ledger, step: str) -> None:
    size = next((world.folder / "before cut_over").rglob("snapshot.db")).stat().st_size
    for at in Random(f"{SEED} {step}").sample(range(size), FLIPS):
        damaged(world, ledger, step, "snapshot with a flipped byte", partial(_flip, at=at))
