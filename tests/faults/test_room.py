"""No room: a full disk of the server, and full disks where snapshots and reports lie; then the same state once there is.

Mounts small file systems, for which it has to be root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from local.postgres import choose_account
from migration.errors import TransientError
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, World

SPACE = "faults_small"
ROOM = (0, 8, 16, 32, 64)
"""So many KiB are left."""


@contextmanager
def small(place: Path, kilobytes: int, owner: int) -> Iterator[None]:
    """A file system of that size, mounted there."""
    options = f"size={kilobytes}k,uid={owner},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def filled(place: Path, left: int) -> Iterator[None]:
    """All but so many KiB of the file system there taken."""
    filler = place / "filler"
    free = shutil.disk_usage(place).free
    filler.write_bytes(bytes(max(free - left * 1024, 0)))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="module")
def tablespace(world: World) -> Iterator[Path]:
    """A tablespace of 24 MB."""
    account = choose_account()
    owner = account.uid if account else os.getuid()
    folder = Path(tempfile.mkdtemp(prefix="space-"))
    folder.chmod(0o755)
    place = folder / "small"
    place.mkdir()
    with small(place, 24 << 10, owner):
        inside = place / "data"
        inside.mkdir()
        os.chown(inside, owner, -1)
        administer(world, sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(SPACE), str(inside)))
        yield place
        administer(world, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(world.name)))
        administer(world, sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(SPACE)))
    shutil.rmtree(folder)


def administer(world: World, statement: sql.Composed) -> None:
    with psycopg.connect(world.admin, autocommit=True) as admin:
        admin.execute(statement)


def tried(world: World, ledger: Ledger, step: str, fault: str, place: Path, left: int) -> None:
    """Do the step while all but a little is taken there, and again when it is not."""
    told, before = "", world.seen()  # the first connection to a database writes a file of its own
    with filled(place, left):
        try:
            STEPS[step](world.job)
        except TransientError as error:
            told = str(error)
    wrong = world.left_behind()
    if told and world.seen() != before:
        wrong += "live tables changed"
    wrong += "" if not told or "space" in told or "disk" in told.lower() else f"told: {told}"
    wrong += world.go_on(step)
    outcome = "a sentence, done again, same state" if told else "enough room, same state"
    ledger.tried("Room", fault, outcome, wrong=bool(wrong))
    assert not wrong
    assert told or left


@pytest.mark.parametrize("left", ROOM)
@pytest.mark.parametrize("step", ["create_schema", "load children", "load notes", "finish_schema", "verify notes"])
def test_a_full_disk_of_the_server_is_told_and_the_step_can_be_done_again(
    world: World, ledger: Ledger, tablespace: Path, step: str, left: int
) -> None:
    world.back_to(step)
    administer(world, sql.SQL("ALTER DATABASE {} SET TABLESPACE {}").format(
        sql.Identifier(world.name), sql.Identifier(SPACE)))  # fmt: skip
    if step == "verify notes" and not left:
        left = 8  # what is recorded fits onto the page that is there
    tried(world, ledger, step, f"disk of the server full in {step.split()[0]}", tablespace, left)


@pytest.mark.parametrize("left", ROOM)
@pytest.mark.parametrize("step", ["backup", "cut_over", "report"])
def test_a_full_disk_of_snapshots_and_reports_is_told_and_the_step_can_be_done_again(
    world: World, ledger: Ledger, step: str, left: int
) -> None:
    world.back_to(step)
    with small(world.job.home, 4 << 10, os.getuid()):
        shutil.copytree(world.folder / f"before {step}", world.job.home, dirs_exist_ok=True)
        tried(world, ledger, step, f"disk of the snapshots full in {step}", world.job.home, left)
