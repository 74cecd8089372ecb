"""How rows are found and named: keys of every kind, encodings, names, column orders, rows of many megabytes."""

from __future__ import annotations

import hashlib
import itertools
import resource
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
import sqlalchemy as sa

from migration.job import Job
from migration.load.table import load_table
from migration.sqlite.catalog import quoted
from tests.engine.support import (
    Raw,
    begin,
    database,
    everything,
    in_a_process,
    insert,
    job_for,
    load_all,
    models,
    plan_for,
    quarantined,
    quarantined_bytes,
    staged,
)

N = sa.Column


def loaded(
    folder: Path,
    dsn: str,
    create: str,
    rows: list[tuple[Any, ...]],
    parts: list[Any],
    *,
    encoding: str = "UTF-8",
    **params: Any,
) -> Job:
    """Table t made by ``create``, loaded with every row that cannot cross in the quarantine."""
    source = database(folder / "app.db", create, encoding=encoding)
    insert(source, "t", rows)
    job = begin(job_for(source, dsn, plan_for(models(("t", parts))), quarantine="allow", **params))
    load_table(job, "t")
    return job


@pytest.mark.parametrize(
    ("create", "keys", "names"),
    [
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, v)", [1, -5, 2**62], ["[1]", "[-5]", f"[{2**62}]"]),
        ("CREATE TABLE t (k, v)", ["a", "a", None], ["[1]", "[2]", "[3]"]),
        ("CREATE TABLE t (k TEXT PRIMARY KEY, v)", ["a", None, None], ["[1]", "[2]", "[3]"]),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY DESC, v)", [9, None, None], ["[1]", "[2]", "[3]"]),
        ("CREATE TABLE t (k INT PRIMARY KEY, v)", [9, 8, None], ["[1]", "[2]", "[3]"]),
        ("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID", ["é\"\n", "", "a\0b"], ['["a\\u0000b"]',
        '["é\\"\\n"]', '[""]']),
        ("CREATE TABLE t (k PRIMARY KEY, v) WITHOUT ROWID", [1, "1", b"1", 1.5], ["[1]", '["1"]',
        '[{"blob":"31"}]', '[{"real":"1.5"}]']),
        ("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID", [Raw(b"a\xff"), "a"], ['[{"text":"61ff"}]',
        '["a"]']),
        ("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID", ["B", "a"], ['["a"]',
        '["B"]']),
        (
            "CREATE TABLE t (k TEXT COLLATE NOCASE, v, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID",
            ["a", "A"], ['["a"]', '["A"]'],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bad", [b"a blob", Raw(b"\xff")], ids=["flagged in SQL", "found in a block"])
def test_bad_rows_are_found_and_named_by_their_key(
    create: str, keys: list[Any], names: list[str], bad: Any, tmp_path: Path, target_dsn: str
) -> None:
    job = loaded(tmp_path, target_dsn, create, [(k, bad) for k in keys], [N("k", sa.Text), N("v", sa.Text)])
    assert set(quarantined(job, "t")) == set(names)
    assert staged(job, "t") == []


def test_a_composite_key_of_text_and_blob_names_rows_and_good_ones_cross(tmp_path: Path, target_dsn: str) -> None:
    create = "CREATE TABLE t (v, b BLOB, a TEXT, n, PRIMARY KEY (a, n, b)) WITHOUT ROWID"
    parts = [N("v", sa.Text), N("b", sa.LargeBinary), N("a", sa.Text), N("n", sa.Numeric(5, 2))]
    rows = [
        (Raw(b"\xff"), b"\0", "x", 1),
        ("ok", b"\1", "x", 1),
        (Raw(b"\xff"), b"", "", 1.5),
        (b"!", b"", Raw(b"\x80"), 7),
    ]
    job = loaded(tmp_path, target_dsn, create, rows, parts)
    assert staged(job, "t") == [("ok", b"\1", "x", Decimal("1.00"))]
    assert set(quarantined(job, "t")) == {
        '["x",1,{"blob":"00"}]', '["",{"real":"1.5"},{"blob":""}]', '[{"text":"80"},7,{"blob":""}]',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (("rowid",), "_rowid_"),
        (("ROWID", "_rowid_"), "oid"),
        (("oid", "_ROWID_"), "rowid"),
    ],
)
def test_columns_named_like_the_rowid_are_plain_columns(
    columns: tuple[str, ...], name: str, tmp_path: Path, target_dsn: str
) -> None:
    create = f"CREATE TABLE t ({', '.join(columns)}, v)"
    rows = [
        (*("x" for _ in columns), "ok"),
        (*("y" for _ in columns), b"bad"),
        (*("z" for _ in columns), Raw(b"\xff")),
    ]
    job = loaded(tmp_path, target_dsn, create, rows, [*(N(c, sa.Text) for c in columns), N("v", sa.Text)])
    assert staged(job, "t") == [rows[0]]
    assert set(quarantined(job, "t")) == {"[2]", "[3]"}


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_utf16_database_crosses_and_broken_text_is_quarantined_as_it_is(
    encoding: str, tmp_path: Path, target_dsn: str
) -> None:
    def stored(text: str) -> bytes:
        return text.encode(encoding, "surrogatepass")

    good = ["", "a", "Ærø 記憶", "👩‍👩‍👧‍👦 \U0010ffff", "\ufeffmark", "\ue000\uffff", "x" * 5000]
    broken = [
        stored("\ud800a"), stored("a\udc00b"), stored("x\ud83d"), stored("\udc00\ud800"),
        stored("a\0b"), stored("\ud800") + stored("👩"),
    ]  # fmt: skip
    rows: list[Any] = [(n, text) for n, text in enumerate(good)]
    rows += [(100 + n, Raw(raw)) for n, raw in enumerate(broken)]
    parts = [N("id", sa.Integer, primary_key=True), N("v", sa.Text)]
    job = loaded(tmp_path, target_dsn, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", rows, parts, encoding=encoding)
    assert staged(job, "t") == list(enumerate(good))
    kept = quarantined_bytes(job, "t")
    assert {key: value for (key, column), value in kept.items() if column == "v"} == {
        f"[{100 + n}]": ("text", raw) for n, raw in enumerate(broken)
    }


def test_text_keys_of_a_utf16_database_find_and_name_their_rows(tmp_path: Path, target_dsn: str) -> None:
    create = "CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID"
    rows = [("Ærø", "long!!"), ("👩", "long!!"), ("a", "ok"), (Raw(b"\x00\xd8"), "ok")]
    job = loaded(tmp_path, target_dsn, create, rows, [N("k", sa.Text), N("v", sa.String(5))], encoding="UTF-16le")
    assert staged(job, "t") == [("a", "ok")]
    assert set(quarantined(job, "t")) == {'["Ærø"]', '["👩"]', '[{"text":"00d8"}]'}


def test_renamed_generated_and_left_out_columns_are_kept_under_the_sources_names(
    tmp_path: Path, target_dsn: str
) -> None:
    source = database(
        tmp_path / "app.db",
        'CREATE TABLE "Old t" ("Id" INTEGER PRIMARY KEY, a, secret, twice AS (a * 2), b AS (a || \'!\') STORED)',
    )
    connection = apsw.Connection(str(source))
    for a in (7, b"x", 10**12):
        connection.execute('INSERT INTO "Old t" (a, secret) VALUES (?, ?)', [a, "never shown"])
    metadata = models(
        (
            "new",
            [
                N("key", sa.Integer, primary_key=True),
                N("amount", sa.Integer),
                N("double", sa.BigInteger),
                N("text", sa.Text),
                N("made", sa.Text, nullable=False, server_default="here"),
                N("empty", sa.Text),
            ],
        )
    )
    names = {"Id": "key", "a": "amount", "twice": "double", "b": "text"}
    part = {
        "rename": "new",
        "exclude_columns": ["secret"],
        "columns": {old: {"rename": new, "invalid": "quarantine"} for old, new in names.items()},
    }
    job = begin(job_for(source, target_dsn, plan_for(metadata, {"Old t": part})))
    load_table(job, "Old t")
    assert staged(job, "new") == [(1, 7, 14, "7!", "here", None)]
    assert quarantined(job, "Old t") == {"[2]": ("a", "inexact"), "[3]": ("a", "inexact")}
    assert {column for _, column in quarantined_bytes(job, "Old t")} == {"Id", "a", "twice", "b"}
    assert everything(job)["migration.loads"]


HOSTILE = (
    'quo"te', "per%cent %s %(x)s", "brace {} {0}", "semi; DROP TABLE t; --", "new\nline", "back\\slash",
    "tick`", "[b]",
    "記憶 Ærø 👩", "'", "select", "ctid_", " ", ".", "a.b", "<script>", "$$", ":x", "?1", "x" * 60,
)  # fmt: skip


def test_columns_of_any_name_are_loaded(tmp_path: Path, target_dsn: str) -> None:
    create = f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(map(quoted, HOSTILE))})"
    rows = [(1, *HOSTILE), (2, *HOSTILE[:-1], b"bad"), (3, Raw(b"\xff"), *HOSTILE[1:])]
    parts = [N("id", sa.Integer, primary_key=True), *(N(name, sa.Text) for name in HOSTILE)]
    job = loaded(tmp_path, target_dsn, create, rows, parts)
    assert staged(job, "t") == [rows[0]]
    assert quarantined(job, "t") == {"[2]": (HOSTILE[-1], "inexact"), "[3]": (HOSTILE[0], "inexact")}


def test_tables_of_any_name_are_loaded_as_parents_and_children(tmp_path: Path, target_dsn: str) -> None:
    source = database(tmp_path / "app.db", *(f"CREATE TABLE {quoted(n)} (id INTEGER PRIMARY KEY, up)" for n in HOSTILE))
    metadata = sa.MetaData()
    parts: dict[str, Any] = {}
    parent: sa.Column[Any] | None = None
    for name in HOSTILE:
        up = N("up", sa.Integer, *([sa.ForeignKey(parent)] if parent is not None else []))
        table = sa.Table(name, metadata, N("id", sa.Integer, primary_key=True), up)
        parts[name] = {} if parent is None else {"load_after": [parent.table.name]}
        parent = table.c.id
        insert(source, name, [(1, 1), (2, None), (3, 77), (4, b"bad")])
    job = begin(job_for(source, target_dsn, plan_for(metadata, parts), quarantine="allow"))
    load_all(job)
    first, *others = HOSTILE
    assert quarantined(job, first) == {"[4]": ("up", "inexact")}
    for name in others:
        assert staged(job, name) == [(1, 1), (2, None)]
        assert quarantined(job, name) == {"[3]": ("up", "orphan"), "[4]": ("up", "orphan")}


def test_no_order_of_storage_classes_bends_a_value(tmp_path: Path, target_dsn: str) -> None:
    """The block reader takes a column's type from the first rows it sees: here each order of them is a table."""
    values = [0.3, "text", 1, b"blob"]
    kinds: dict[str, Any] = {
        "i": sa.BigInteger(), "d": sa.Double(), "s": sa.Text(), "b": sa.LargeBinary(), "n": sa.Numeric(3, 2),
    }  # fmt: skip
    fits = {
        (0, "d"): 0.3, (0, "n"): Decimal("0.30"), (1, "s"): "text", (2, "i"): 1, (2, "d"): 1.0,
        (2, "n"): Decimal("1.00"), (3, "b"): b"blob",
    }  # fmt: skip
    orders = {f"t{n}": order for n, order in enumerate(itertools.permutations(range(4)))}
    source = database(
        tmp_path / "app.db", *(f"CREATE TABLE {t} (id INTEGER PRIMARY KEY, i, d, s, b, n)" for t in orders)
    )
    cells = {table: list(enumerate(itertools.product(order, kinds))) for table, order in orders.items()}
    for table, wanted in cells.items():
        rows = [(place, *(values[which] if k == kind else None for k in kinds)) for place, (which, kind) in wanted]
        insert(source, table, rows)
    parts = {t: [N("id", sa.Integer, primary_key=True), *(N(k, kind) for k, kind in kinds.items())] for t in orders}
    job = begin(job_for(source, target_dsn, plan_for(models(*parts.items())), quarantine="allow"))
    load_all(job)
    for table, wanted in cells.items():
        found = {row[0]: [v for v in row[1:] if v is not None] for row in staged(job, table)}
        assert found == {place: [fits[cell]] for place, cell in wanted if cell in fits}


def test_a_table_of_six_hundred_columns_is_loaded(tmp_path: Path, target_dsn: str) -> None:
    names = [f"c{n}" for n in range(600)]
    kinds: list[Any] = [sa.Numeric(5, 2), sa.Text(), sa.Integer()]
    parts = [N("id", sa.Integer, primary_key=True), *(N(c, kinds[n % 3]) for n, c in enumerate(names))]
    values = [(1.5, "é", 7)[n % 3] for n in range(600)]
    job = loaded(
        tmp_path, target_dsn, f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(names)})",
        [(1, *values), (2, b"bad", *values[1:]), (3, 0.005, *values[1:])], parts,
    )  # fmt: skip
    assert staged(job, "t") == [(1, *[(Decimal("1.50"), "é", 7)[n % 3] for n in range(600)])]
    assert set(quarantined(job, "t")) == {"[2]", "[3]"}


def test_long_rows_among_tiny_ones_cross_in_bounded_memory(tmp_path: Path, target_dsn: str) -> None:
    sizes = {500: 1_000_000, 2500: 20_000_000, 2501: 20_000_000, 2502: 20_000_000, 4999: 5_000}
    rows: list[Any] = [(n, "é" * (sizes.get(n, 4) // 2), b"\0\xff" * (sizes.get(n, 2) // 2)) for n in range(5000)]
    rows[2501] = (2501, rows[2501][1], "text in the blob's place")
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v, b)")
    insert(source, "t", rows)
    parts = [N("id", sa.Integer, primary_key=True), N("v", sa.Text), N("b", sa.LargeBinary)]
    job = begin(job_for(source, target_dsn, plan_for(models(("t", parts))), quarantine="allow"))

    def load() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        load_table(job, "t")
        return int((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 4000)

    # In units of 4 MB: a row of 40 MB is held seven times on its way, and never a second one beside it.
    assert in_a_process(load) < 440 / 4
    sums = {n: (v, b) for n, v, b in staged(job, "t", "id, sha256(convert_to(v, 'UTF8')), sha256(b)")}
    expected = {n: (hashlib.sha256(v.encode()).digest(), hashlib.sha256(b).digest()) for n, v, b in rows if n != 2501}
    assert sums == expected
    assert set(quarantined(job, "t")) == {"[2501]"}
    assert quarantined_bytes(job, "t")["[2501]", "v"] == ("text", rows[2501][1].encode())
