"""A target whose settings are not what one expects: the same state, or one sentence before anything was touched."""

from __future__ import annotations

import psycopg
import pytest

from migration.errors import MigrationError
from tests.faults.ledger import Ledger
from tests.faults.world import World

SETTINGS = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "search_path": "nowhere",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Pacific/Kiritimati",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "row_security": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_toast_compression": "pglz",
    "check_function_bodies": "off",
    "synchronous_commit": "off",
    "enable_seqscan": "off",
    "enable_indexscan": "off",
    "work_mem": "64kB",
    "maintenance_work_mem": "1MB",
    "force_parallel_mode": "on",
    "debug_parallel_query": "on",
    "plan_cache_mode": "force_generic_plan",
    "jit_above_cost": "0",
    "constraint_exclusion": "on",
    "client_min_messages": "debug1",
    "lc_messages": "C",
    "lc_numeric": "C",
    "default_transaction_read_only": "on",
}
"""Set for the database, as an administrator may have done for the application's sake."""
REFUSED = {"default_transaction_read_only": "read-only"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_migration_into_a_database_with_such_a_setting_ends_as_any_other(
    world: World, ledger: Ledger, name: str
) -> None:
    world.back_to("preflight")
    with psycopg.connect(world.admin, autocommit=True) as admin:
        known = admin.execute("SELECT count(*) FROM pg_settings WHERE lower(name) = %s", [name]).fetchone()
        if known == (0,):
            assert name in ("force_parallel_mode", "debug_parallel_query")  # of one version or the other
            return
        admin.execute(f"ALTER DATABASE {world.name} SET {name} = '{SETTINGS[name]}'".encode())
    outcome, wrong = "same state", ""
    try:
        wrong = world.go_on("preflight", settled=lambda: _reset(world, name))
    except MigrationError as error:
        outcome = "refused by name, nothing touched"
        if REFUSED.get(name, "?") not in str(error):
            wrong = str(error)
        elif world.seen() != world.visible["preflight"] or world.left_behind():
            wrong = "something was touched"
    ledger.tried("Target", "a setting of the target's database", outcome, wrong=bool(wrong))
    assert not wrong
    assert (outcome == "same state") == (name not in REFUSED)


def _reset(world: World, name: str) -> None:
    with psycopg.connect(world.admin, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {world.name} RESET {name}".encode())
