"""A role without a right, a server without a connection to spare: a sentence, nothing half done, and then the same state."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg import sql

from migration.errors import MigrationError
from tests.conftest import ROLE
from tests.faults.ledger import Ledger
from tests.faults.world import STEPS, World

FAULTS: dict[str, tuple[str, str, str]] = {
    "login taken": ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN", "not permitted to log in"),
    "connections of the role used up": (
        "ALTER ROLE {role} CONNECTION LIMIT 0",
        "ALTER ROLE {role} CONNECTION LIMIT -1",
        "too many connections",
    ),
    "connections of the database used up": (
        "ALTER DATABASE {database} CONNECTION LIMIT 0",
        "ALTER DATABASE {database} CONNECTION LIMIT -1",
        "too many connections",
    ),
    "database closed": (
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {database} ALLOW_CONNECTIONS true",
        "not currently accepting connections",
    ),
    "right to connect taken": (
        "ALTER DATABASE {database} OWNER TO CURRENT_USER; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
        "ALTER DATABASE {database} OWNER TO {role}; GRANT CONNECT ON DATABASE {database} TO PUBLIC",
        "permission denied",
    ),
    "read-only": (
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
        "ALTER DATABASE {database} RESET default_transaction_read_only",
        "read-only",
    ),
}
"""What an administrator does, what undoes it, and what must be said."""
WITHIN: dict[str, tuple[list[str], str, str, str]] = {
    "right to create schemas taken": (
        ["preflight", "create_schema", "cut_over"],
        "ALTER DATABASE {database} OWNER TO CURRENT_USER",
        "ALTER DATABASE {database} OWNER TO {role}",
        "CREATE|create|permission denied|must be owner",
    ),
    "live table of another owner": (
        ["preflight", "cut_over"],
        "ALTER TABLE public.parents OWNER TO CURRENT_USER",
        "ALTER TABLE public.parents OWNER TO {role}",
        "owner|parents",
    ),
    "record of the runs of another owner": (
        ["create_schema", "load parents", "finish_schema", "verify parents", "cut_over", "report", "rollback"],
        "REVOKE ALL ON ALL TABLES IN SCHEMA migration FROM {role}",
        "GRANT ALL ON ALL TABLES IN SCHEMA migration TO {role}",
        "permission denied",
    ),
    "staging of another owner": (
        ["load parents", "finish_schema", "verify notes", "cut_over"],
        "ALTER SCHEMA {staging} OWNER TO CURRENT_USER",
        "ALTER SCHEMA {staging} OWNER TO {role}",
        "permission denied|must be owner|staging",
    ),
}
"""The same inside the database, before the steps for which it matters."""


def administer(world: World, statements: str, *, inside: bool) -> None:
    names = {"role": ROLE, "database": world.name, "staging": world.job.staging}
    with psycopg.connect(world.admin, dbname=world.name if inside else "postgres", autocommit=True) as admin:
        for statement in statements.split("; "):
            admin.execute(sql.SQL(statement).format(**{n: sql.Identifier(v) for n, v in names.items()}))


def tried(world: World, ledger: Ledger, step: str, fault: str, parts: tuple[str, str, str], *, inside: bool) -> None:
    """Do the step with the fault there, then without it."""
    given, undone, expected = parts
    world.back_to(step)
    before = world.state() if step != "preflight" else None
    administer(world, given, inside=inside)
    told = ""
    try:
        STEPS[step](world.job)
    except MigrationError as error:
        told = str(error)
    finally:
        administer(world, undone, inside=inside)
    wrong = "" if re.search(expected, told) else f"told: {told!r}"
    wrong += world.left_behind()
    wrong += "live tables changed" if world.seen() != world.visible[step] else ""
    if before and before["objects"] != world.state()["objects"]:
        wrong += "something was half done"
    wrong += world.go_on(step)
    ledger.tried("Target", fault, "a sentence, done again, same state", wrong=bool(wrong))
    assert not wrong


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "step", ["preflight", "create_schema", "load children", "verify notes", "cut_over", "rollback"]
)
def test_a_target_that_lets_nobody_in_is_told_and_the_step_can_be_done_again(
    world: World, ledger: Ledger, step: str, fault: str
) -> None:
    tried(world, ledger, step, fault, FAULTS[fault], inside=False)


@pytest.mark.parametrize(("step", "fault"), [(step, fault) for fault, (steps, *_) in WITHIN.items() for step in steps])
def test_a_role_without_a_right_that_a_step_needs_is_told_and_the_step_can_be_done_again(
    world: World, ledger: Ledger, step: str, fault: str
) -> None:
    tried(world, ledger, step, fault, WITHIN[fault][1:], inside=True)
