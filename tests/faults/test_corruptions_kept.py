"""Corruptions of what lies around the rows: quarantine, kept originals, sequences, constraints, columns."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from tests.conftest import Server
from tests.faults.corrupting import AREA, EACH, SEED, Tally, world_of
from tests.faults.ledger import Ledger
from tests.faults.planted import World


@pytest.fixture(scope="module")
def world(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All tables, loaded and verified."""
    with world_of(postgres_server, tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def tally(ledger: Ledger) -> Tally:
    return Tally(ledger)


def octets(value: bytes | None, chance: Random) -> bytes:
    """A value of which one bit, or the length, is another."""
    if not value:
        return b"\0"
    changed = bytearray(value)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return chance.choice([bytes(changed), value[:-1], value + b" "])


@pytest.mark.parametrize("record", ["quarantined_values", "altered_values"])
def test_a_byte_of_a_kept_value_is_found(world: World, tally: Tally, record: str) -> None:
    chance = Random(f"{SEED} {record}")
    found = world.connection.execute(
        f"SELECT row_key, column_name, value FROM migration.{record} ORDER BY 1, 2".encode()
    )
    kept = found.fetchall()
    for _ in range(3 * EACH):
        row_key, column, value = chance.choice(kept)
        where = f"UPDATE migration.{record} SET value = %s WHERE row_key = %s AND column_name = %s"
        changed = octets(value, chance)
        if changed == value:
            continue
        assert world.record(where, changed, row_key, column) == 1
        verified = world.verified("kept")
        world.records_restored()
        what = f"{record} {row_key} {column}: {value!r} → {changed!r}"
        tally.planted(f"a byte of {record}", "kept", verified, {(row_key, column, "changed")}, what)
    assert world.verified("kept").green
    tally.end()


RECORDS = {
    "a storage class": "UPDATE migration.{0} SET storage_class = CASE storage_class WHEN 'blob' THEN 'text' ELSE 'blob' END"
    " WHERE row_key = %s AND column_name = %s",
    "a key": "UPDATE migration.{0} SET row_key = '[77]' WHERE row_key = %s AND column_name = %s",
    "a key that is none": "UPDATE migration.{0} SET row_key = 'nothing' WHERE row_key = %s AND column_name = %s",
    "a column": "UPDATE migration.{0} SET column_name = 'nobody' WHERE row_key = %s AND column_name = %s",
    "no record": "DELETE FROM migration.{0} WHERE row_key = %s AND column_name = %s",
    "NULL for the value": "UPDATE migration.{0} SET value = NULL WHERE row_key = %s AND column_name = %s AND value <> ''",
}


@pytest.mark.parametrize("record", ["quarantined_values", "altered_values"])
def test_a_record_of_a_kept_value_that_is_not_as_it_was_is_found(world: World, tally: Tally, record: str) -> None:
    query = f"SELECT row_key, column_name FROM migration.{record} ORDER BY 1, 2"
    for row_key, column in world.connection.execute(query.encode()).fetchall():
        for label, statement in RECORDS.items():
            if not world.record(statement.format(record), row_key, column):
                continue
            verified = world.verified("kept")
            world.records_restored()
            tally.reported(f"{label} in {record}", "kept", verified, f"{record} {row_key} {column}: {label}")
    assert world.verified("kept").green
    tally.end()


def test_another_declaration_of_an_altered_value_is_found(world: World, tally: Tally) -> None:
    query = b"SELECT row_key, column_name, action FROM migration.altered_values ORDER BY 1, 2"
    for row_key, column, action in world.connection.execute(query).fetchall():
        for other in {"null", "round", "strip", "text", "bytes", "stop", "quarantine", "nonsense"} - {action}:
            where = "UPDATE migration.altered_values SET action = %s WHERE row_key = %s AND column_name = %s"
            world.record(where, other, row_key, column)
            verified = world.verified("kept")
            world.records_restored()
            tally.reported("an action in altered_values", "kept", verified, f"{row_key} {column}: {other}")
    assert world.verified("kept").green
    tally.end()


def test_a_quarantine_that_has_other_rows_is_found(world: World, tally: Tally) -> None:
    """A row less; a row that could have crossed; one of both that keep the count."""
    keys = [k for (k,) in world.connection.execute("SELECT row_key FROM migration.quarantine ORDER BY 1").fetchall()]
    for row_key in keys:
        world.record("DELETE FROM migration.quarantine WHERE row_key = %s", row_key)
        verified = world.verified("kept")
        world.records_restored()
        tally.reported("a row less in quarantine", "kept", verified, f"{row_key} deleted")
        world.record("DELETE FROM migration.quarantined_values WHERE row_key = %s", row_key)
        world.record("DELETE FROM migration.quarantine WHERE row_key = %s", row_key)
        verified = world.verified("kept")
        world.records_restored()
        tally.reported("a row less in quarantine, values too", "kept", verified, f"{row_key} deleted")
        for record in ("quarantine", "quarantined_values"):
            world.record(f"UPDATE migration.{record} SET row_key = '[3]' WHERE row_key = %s", row_key)
        verified = world.verified("kept")
        world.records_restored()
        tally.reported("another row in quarantine", "kept", verified, f"[3] in place of {row_key}")
        world.record("UPDATE migration.quarantine SET table_name = 'words' WHERE row_key = %s", row_key)
        for table in ("kept", "words"):
            verified = world.verified(table)
            tally.reported("a quarantined row of another table", table, verified, f"{row_key} as one of words")
        world.records_restored()
    assert world.verified("kept").green
    assert world.verified("words").green
    tally.end()


def test_a_value_of_an_altered_row_is_found(world: World, tally: Tally) -> None:
    """The value that the declaration makes, and the others of its row."""
    changes = {"q": "77", "r": "0.12", "z": "5", "s": "other", "t": "2.50", "y": "\\x00ff", "o": "x"}
    for number in range(29, 37):
        for column, value in changes.items():
            row = next(r for r in world.rows("kept") if r["id"] == str(number))
            with world.planted("kept"):
                changed = world.put("kept", str(row[""]), column, value)
            verified = world.verified("kept")
            world.restored("kept")
            assert changed, (number, column)
            expected = {(f"[{number}]", column, "changed")}
            tally.planted("a value of an altered row", "kept", verified, expected, f"{number} {column} → {value}")
    assert world.verified("kept").green
    tally.end()


OBJECTS: list[tuple[str, str, str, str]] = [
    # what it is called, the table, what is done to it, and the way back
    ("a check is gone", "numbers", "ALTER TABLE {} DROP CONSTRAINT numbers_check",
     "ALTER TABLE {} ADD CONSTRAINT numbers_check CHECK (i > -2147483648)"),
    ("another check of that name", "numbers",
     "ALTER TABLE {} DROP CONSTRAINT numbers_check, ADD CONSTRAINT numbers_check CHECK (i > -2147483649)",
     "ALTER TABLE {} DROP CONSTRAINT numbers_check, ADD CONSTRAINT numbers_check CHECK (i > -2147483648)"),
    ("a check that is not validated", "numbers",
     "ALTER TABLE {} DROP CONSTRAINT numbers_check, ADD CONSTRAINT numbers_check CHECK (i > -2147483648) NOT VALID",
     "ALTER TABLE {} VALIDATE CONSTRAINT numbers_check"),
    ("one check more", "numbers", "ALTER TABLE {} ADD CONSTRAINT another CHECK (i IS NOT NULL)",
     "ALTER TABLE {} DROP CONSTRAINT another"),
    ("a unique constraint is gone", "numbers", "ALTER TABLE {} DROP CONSTRAINT numbers_unique",
     "ALTER TABLE {} ADD CONSTRAINT numbers_unique UNIQUE (b)"),
    ("a unique constraint of another column", "numbers",
     "ALTER TABLE {} DROP CONSTRAINT numbers_unique, ADD CONSTRAINT numbers_unique UNIQUE (id, b)",
     "ALTER TABLE {} DROP CONSTRAINT numbers_unique, ADD CONSTRAINT numbers_unique UNIQUE (b)"),
    ("an index is gone", "numbers", "DROP INDEX {s}.numbers_index", "CREATE INDEX numbers_index ON {} (d, e DESC)"),
    ("an index in another order", "numbers",
     "DROP INDEX {s}.numbers_index; CREATE INDEX numbers_index ON {} (d DESC, e)",
     "DROP INDEX {s}.numbers_index; CREATE INDEX numbers_index ON {} (d, e DESC)"),
    ("an index without its condition", "numbers",
     "DROP INDEX {s}.numbers_partial; CREATE INDEX numbers_partial ON {} (n)",
     "DROP INDEX {s}.numbers_partial; CREATE INDEX numbers_partial ON {} (n) WHERE f"),
    ("a unique index that is none", "numbers", "DROP INDEX {s}.numbers_once; CREATE INDEX numbers_once ON {} (c)",
     "DROP INDEX {s}.numbers_once; CREATE UNIQUE INDEX numbers_once ON {} (c)"),
    ("an index that is not valid", "numbers",
     "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{s}.numbers_index'::regclass",
     "UPDATE pg_index SET indisvalid = true WHERE indexrelid = '{s}.numbers_index'::regclass"),
    ("a primary key is gone", "times", "ALTER TABLE {} DROP CONSTRAINT times_pkey",
     "ALTER TABLE {} ADD CONSTRAINT times_pkey PRIMARY KEY (a, b)"),
    ("a primary key in another order", "times",
     "ALTER TABLE {} DROP CONSTRAINT times_pkey, ADD CONSTRAINT times_pkey PRIMARY KEY (b, a)",
     "ALTER TABLE {} DROP CONSTRAINT times_pkey, ADD CONSTRAINT times_pkey PRIMARY KEY (a, b)"),
    ("a foreign key is gone", "children", "ALTER TABLE {} DROP CONSTRAINT children_fk",
     "ALTER TABLE {} ADD CONSTRAINT children_fk FOREIGN KEY (parent) REFERENCES {s}.numbers (id)"),
    ("a foreign key with another action", "children",
     "ALTER TABLE {} DROP CONSTRAINT children_fk, ADD CONSTRAINT children_fk FOREIGN KEY (parent)"
     " REFERENCES {s}.numbers (id) ON DELETE CASCADE",
     "ALTER TABLE {} DROP CONSTRAINT children_fk, ADD CONSTRAINT children_fk FOREIGN KEY (parent)"
     " REFERENCES {s}.numbers (id)"),
    ("a foreign key that is not validated", "children",
     "ALTER TABLE {} DROP CONSTRAINT children_fk, ADD CONSTRAINT children_fk FOREIGN KEY (parent)"
     " REFERENCES {s}.numbers (id) NOT VALID",
     "ALTER TABLE {} VALIDATE CONSTRAINT children_fk"),
    ("NOT NULL is gone", "numbers", "ALTER TABLE {} ALTER i DROP NOT NULL", "ALTER TABLE {} ALTER i SET NOT NULL"),
    ("NOT NULL where NULL may be", "kept", "ALTER TABLE {} ALTER r SET NOT NULL", "ALTER TABLE {} ALTER r DROP NOT NULL"),
    ("a default is gone", "numbers", "ALTER TABLE {} ALTER b DROP DEFAULT", "ALTER TABLE {} ALTER b SET DEFAULT 7"),
    ("another default", "numbers", "ALTER TABLE {} ALTER b SET DEFAULT 8", "ALTER TABLE {} ALTER b SET DEFAULT 7"),
    ("a default more", "numbers", "ALTER TABLE {} ALTER c SET DEFAULT 8", "ALTER TABLE {} ALTER c DROP DEFAULT"),
    ("a sequence that begins anew", "numbers", "ALTER TABLE {} ALTER id RESTART WITH 1",
     "ALTER TABLE {} ALTER id RESTART WITH 31"),
    ("a sequence one too low", "numbers", "ALTER TABLE {} ALTER id RESTART WITH 30",
     "ALTER TABLE {} ALTER id RESTART WITH 31"),
    ("a sequence that counts down", "numbers", "ALTER TABLE {} ALTER id SET INCREMENT BY -1 SET MINVALUE -9",
     "ALTER TABLE {} ALTER id SET INCREMENT BY 1 SET MINVALUE 1"),
    ("a sequence that ends", "numbers", "ALTER TABLE {} ALTER id SET MAXVALUE 31",
     "ALTER TABLE {} ALTER id SET NO MAXVALUE"),
    ("the numbering is gone", "numbers", "ALTER TABLE {} ALTER id DROP IDENTITY",
     "ALTER TABLE {} ALTER id ADD GENERATED BY DEFAULT AS IDENTITY; ALTER TABLE {} ALTER id RESTART WITH 31"),
    ("numbers always", "numbers", "ALTER TABLE {} ALTER id SET GENERATED ALWAYS",
     "ALTER TABLE {} ALTER id SET GENERATED BY DEFAULT"),
    ("a shorter varchar", "words", "UPDATE pg_attribute SET atttypmod = 54 WHERE attrelid = '{s}.words'::regclass"
     " AND attname = 'v'",
     "UPDATE pg_attribute SET atttypmod = 64 WHERE attrelid = '{s}.words'::regclass AND attname = 'v'"),
    ("text for varchar", "words", "ALTER TABLE {} ALTER v TYPE text", "ALTER TABLE {} ALTER v TYPE varchar(60)"),
    ("a column more", "days", "ALTER TABLE {} ADD more text DEFAULT 'x'", "ALTER TABLE {} DROP more"),
    ("a column less", "days", "ALTER TABLE {} RENAME n TO other", "ALTER TABLE {} RENAME other TO n"),
    ("rows that a rule hides", "days", "CREATE RULE none_more AS ON INSERT TO {} DO INSTEAD NOTHING",
     "DROP RULE none_more ON {}"),
    ("a trigger that undoes", "days",
     "CREATE TRIGGER undoing BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
     "DROP TRIGGER undoing ON {}"),
    ("rows that a policy hides", "days", "ALTER TABLE {} ENABLE ROW LEVEL SECURITY", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"),
    ("a table that nobody logs", "days", "ALTER TABLE {} SET UNLOGGED", "ALTER TABLE {} SET LOGGED"),
    ("a table less", "days", "ALTER TABLE {} RENAME TO nights", "ALTER TABLE {s}.nights RENAME TO days"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "table", "change", "back"), OBJECTS, ids=[o[0] for o in OBJECTS])
def test_an_object_that_is_not_as_it_was_is_found(
    world: World, ledger: Ledger, what: str, table: str, change: str, back: str
) -> None:
    """By the verification, or by the cut-over, which holds each table against its shape when it was finished."""
    schema = world.job.staging
    assert not world.refused()
    run(world, change, table)
    try:
        verified = world.verified(table)
        refused = world.refused() if verified.green else []
    finally:
        run(world, back, table)
        world.restored(table)  # some of the ways back write the rows anew
    by = "found by the verification" if not verified.green else "the cut-over is refused" if refused else "NOT FOUND"
    ledger.tried(AREA, "an object changed", by, wrong=verified.green and not refused)
    assert not verified.green or any(table in reason for reason in refused), (verified, refused)
    assert world.verified(table).green, schema


def run(world: World, statements: str, table: str) -> None:
    """Statements with ``{}`` for the staged table and ``{s}`` for its schema."""
    schema = world.job.staging
    with psycopg.ClientCursor(world.connection) as cursor:
        cursor.execute(statements.replace("{s}", schema).replace("{}", f"{schema}.{table}").encode())
