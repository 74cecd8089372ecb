"""Whatever one value, row, record or object of the target is changed into after the load, it is found, and named."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from tests.conftest import Server
from tests.faults.corrupting import EACH, SEED, Tally, world_of
from tests.faults.ledger import Ledger
from tests.faults.nearby import near
from tests.faults.planted import PLAN, World

Row = dict[str, str | None]
PLAIN = [t for t in PLAN.tables if t != "kept"]


@pytest.fixture(scope="module")
def world(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All tables, loaded and verified."""
    with world_of(postgres_server, tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def tally(ledger: Ledger) -> Tally:
    return Tally(ledger)


KEYED = [t for t in PLAIN if t != "loose"]


def attempts(world: World, table: str, column: str, chance: Random) -> Iterator[tuple[Row, str, str | None]]:
    """A row, and a near value for one column of it, with its label; more of them than will be planted."""
    for _ in range(3 * EACH):
        row = chance.choice(world.rows(table))
        yield row, *chance.choice(near(world.types[table][column], row[column], chance))


def changed(world: World, table: str, row: Row, column: str, value: str | None) -> bool:
    """Plant one value; False where PostgreSQL refuses it, or holds it to be the same."""
    try:
        with world.planted(table):
            if not world.put(table, str(row[""]), column, value):
                raise psycopg.Rollback
            return True
    except (psycopg.IntegrityError, psycopg.DataError):
        pass
    return False


@pytest.mark.parametrize("table", KEYED)
def test_one_value_changed_to_a_near_one_is_found(world: World, tally: Tally, table: str) -> None:
    chance = Random(f"{SEED} {table}")
    for column, type_ in world.types[table].items():
        planted = 0
        for row, label, value in attempts(world, table, column, chance):
            if planted == EACH:
                break
            if not changed(world, table, row, column, value):
                continue
            planted += 1
            before = world.source_key(table, row)
            expected = {(before, column, "changed")}
            if column in world.key(table):
                keys = {world.written_key(table, r) for r in world.rows(table, "kept")}
                now = next(k for r in world.rows(table) if (k := world.written_key(table, r)) not in keys)
                expected = {(before, "", "missing"), (now, "", "extra")}
            found = world.verified(table)
            world.restored(table)
            what = f"{column} of {before}: {row[column]!r} → {value!r} ({label})"
            tally.planted(f"one value changed: {type_.partition('(')[0]}", table, found, expected, what)
        assert planted > EACH // 2 or type_ == "boolean"
    assert world.verified(table).green
    tally.end()


def test_one_value_of_a_row_without_a_key_is_found(world: World, tally: Tally) -> None:
    """Where equal rows lie, any of them may be named."""
    chance, table = Random(f"{SEED} loose"), "loose"
    for column in world.types[table]:
        planted = 0
        for row, label, value in attempts(world, table, column, chance):
            if planted == EACH:
                break
            if not changed(world, table, row, column, value):
                continue
            planted += 1
            alike = world.source_keys(table, row)
            found = world.verified(table)
            world.restored(table)
            key = next((k for k, _, _ in found.differences if k in alike), "none")
            what = f"{column}: {row[column]!r} → {value!r} ({label})"
            tally.planted("one value changed, no key", table, found, {(key, column, "changed")}, what)
        assert planted > EACH // 2
    assert world.verified(table).green
    tally.end()


def differing(world: World, table: str, mine: Row, theirs: Row) -> list[str]:
    """The columns outside the key in which two rows differ."""
    return [c for c in world.types[table] if c not in world.key(table) and mine[c] != theirs[c]]


@pytest.mark.parametrize("table", KEYED)
def test_values_in_each_others_place_are_found(world: World, tally: Tally, table: str) -> None:
    """One column of two rows, two columns of one row, the keys of two rows."""
    chance = Random(f"{SEED} swaps {table}")
    types = world.types[table]
    for _ in range(EACH):
        rows = world.rows(table)
        one, other = chance.sample(rows, 2)
        keys = world.source_key(table, one), world.source_key(table, other)
        if columns := [c for c in differing(world, table, one, other) if c not in ("b", "c")]:
            column = chance.choice(columns)
            with world.planted(table):
                places = [(str(one[""]), other[column]), (str(other[""]), one[column])]
                for place, value in places:
                    world.put(table, place, column, value)
            expected = {(keys[0], column, "changed"), (keys[1], column, "changed")}
            found = world.verified(table)
            world.restored(table)
            tally.planted("one column of two rows exchanged", table, found, expected, f"{column} of {keys}")
        one, other = chance.sample(world.rows(table), 2)
        keys = world.source_key(table, one), world.source_key(table, other)
        if columns := differing(world, table, one, other):
            with world.planted(table):
                exchange_keys(world, table, one, other)
            expected = {(k, c, "changed") for k in keys for c in columns}
            found = world.verified(table)
            world.restored(table)
            tally.planted("the keys of two rows exchanged", table, found, expected, str(keys))
        row = chance.choice(world.rows(table))
        pairs = [
            (a, b) for a in types for b in types
            if a < b and types[a] == types[b] and row[a] != row[b] and not {a, b} & {*world.key(table), "b", "c"}
        ]  # fmt: skip
        if pairs:
            a, b = chance.choice(pairs)
            with world.planted(table):
                world.do(f'UPDATE {{}} SET "{a}" = "{b}", "{b}" = "{a}" WHERE ctid = %s::tid', table, row[""])
            key = world.source_key(table, row)
            found = world.verified(table)
            world.restored(table)
            expected = {(key, a, "changed"), (key, b, "changed")}
            tally.planted("two columns of a row exchanged", table, found, expected, f"{a}, {b} of {key}")
    assert world.verified(table).green
    tally.end()


def exchange_keys(world: World, table: str, one: Row, other: Row) -> None:
    """Give each of two rows the key of the other."""
    names = ", ".join(f'"{c}"' for c in world.types[table])
    key = ", ".join(f'x."{c}"' for c in world.key(table))
    mixed = ", ".join(f'{"y" if c in world.key(table) else "x"}."{c}"' for c in world.types[table])
    places = [one[""], other[""]]
    world.do("CREATE TEMP TABLE pair ON COMMIT DROP AS SELECT * FROM {} WHERE ctid = ANY(%s::tid[])", table, places)
    assert world.do("DELETE FROM {} WHERE ctid = ANY(%s::tid[])", table, places) == 2
    joined = f"pair AS x JOIN pair AS y ON ({key}) <> ({key.replace('x.', 'y.')})"
    world.do(f"INSERT INTO {{}} ({names}) OVERRIDING SYSTEM VALUE SELECT {mixed} FROM {joined}", table)


@pytest.mark.parametrize("table", PLAIN)
def test_a_row_more_or_less_is_found(world: World, tally: Tally, table: str) -> None:
    chance = Random(f"{SEED} rows {table}")
    for n in range(EACH):
        row = chance.choice(world.rows(table))
        with world.planted(table):
            world.do("DELETE FROM {} WHERE ctid = %s::tid", table, row[""])
        found = world.verified(table)
        world.restored(table)
        keys = world.source_keys(table, row)  # several where equal rows lie
        key = next((k for k, _, _ in found.differences if k in keys), "none")
        tally.planted("a row deleted", table, found, {(key, "", "missing")}, f"deleted {key}")

        row = chance.choice(world.rows(table))
        with world.planted(table):
            now = doubled(world, table, row, n)
        found = world.verified(table)
        world.restored(table)
        if table == "loose":  # named by its place, which another equal row may have
            now = next((k for k, _, kind in found.differences if kind == "extra"), "none")
        tally.planted("a row doubled", table, found, {(now, "", "extra")}, f"doubled as {now}")
    assert world.verified(table).green
    tally.end()


NEW_KEYS = {
    "numbers": ("id", "9000 + %s"), "words": ("k", "k || ' ' || %s"), "times": ("a", "9000 + %s"),
    "bytes": ("k", "k || convert_to(%s::text, 'UTF8')"), "days": ("k", "k + 1 + %s"),
    "moments": ("k", "k + %s * interval '1 microsecond' + interval '1 s'"), "children": ("id", "9000 + %s"),
}  # fmt: skip


def doubled(world: World, table: str, row: Row, n: int) -> str:
    """Insert the row once more, under a key of its own where it has one; that key."""
    column, fresh = NEW_KEYS.get(table, ("", ""))
    unique = {"numbers": {"b": "NULL", "c": "NULL"}}.get(table, {})
    values = ", ".join(fresh if c == column else unique.get(c, f'"{c}"') for c in world.types[table])
    names = ", ".join(f'"{c}"' for c in world.types[table])
    keys = {world.written_key(table, r) for r in world.rows(table)}
    source = world.name(table).as_string(world.connection).replace("%", "%%")
    world.do(
        f"INSERT INTO {{}} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {source} WHERE ctid = %s::tid",
        table, *([n] if column else []), row[""],
    )  # fmt: skip
    return next((k for r in world.rows(table) if column and (k := world.written_key(table, r)) not in keys), "none")


def test_a_row_that_was_only_written_again_is_found(world: World, tally: Tally) -> None:
    """No value differs; that somebody else wrote the row does not pass either."""
    chance = Random(f"{SEED} touched")
    for table in PLAIN:
        row = chance.choice(world.rows(table))
        column = next(iter(world.types[table]))
        with world.planted(table, forged=False):
            world.do(f'UPDATE {{}} SET "{column}" = "{column}" WHERE ctid = %s::tid', table, row[""])
        found = world.verified(table)
        world.restored(table)
        tally.checked("a row written again by somebody else", found, "untouched", f"{table} {row}")
    tally.end()


COUNTS = {
    "source rows": "source_rows = source_rows + 1, loaded = loaded + 1",
    "target rows": "loaded = loaded - 1, quarantined = quarantined + 1",
    "quarantine": "source_rows = source_rows + 1, quarantined = quarantined + 1",
    "altered values": "altered = altered + 1",
    "balance": "source_rows = source_rows + 1, excluded = excluded + 1",
    "untouched": "xids = '[3]'",
}


def test_counts_that_do_not_add_up_are_found(world: World, tally: Tally) -> None:
    for table in PLAN.tables:
        for check, change in COUNTS.items():
            held = world.connection.execute("SELECT xids::text FROM migration.loads WHERE table_name = %s", [table])
            xids = held.fetchall()[0][0]
            world.record(f"UPDATE migration.loads SET {change} WHERE table_name = %s", table)
            found = world.verified(table)
            world.records_restored()
            world.record("UPDATE migration.loads SET xids = %s WHERE table_name = %s", xids, table)
            tally.checked("a count of the record changed", found, check, f"{table}: {change}")
        assert world.verified(table).green
    tally.end()
