"""Rows whose parent is missing or lies in the quarantine: found before PostgreSQL would refuse the foreign key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from migration.errors import MigrationError, RejectedRows
from migration.job import Job
from migration.load.table import load_table
from migration.postgres.schema import finish_schema
from tests.engine.support import (
    Raw,
    altered,
    begin,
    database,
    everything,
    insert,
    job_for,
    load_all,
    models,
    plan_for,
    quarantined,
    staged,
)

N = sa.Column
QUARANTINE: dict[str, Any] = {"invalid": "quarantine"}


def family(
    folder: Path,
    dsn: str,
    parents: list[tuple[Any, ...]],
    children: list[tuple[Any, ...]],
    child: dict[str, Any] | None = None,
    *,
    required: bool = False,
) -> Job:
    """Parents (id, name) and children (id, parent, note), where parent is a foreign key."""
    source = database(
        folder / "app.db",
        "CREATE TABLE parents (id INTEGER PRIMARY KEY, name)",
        "CREATE TABLE children (id INTEGER PRIMARY KEY, parent, note)",
    )
    insert(source, "parents", parents)
    insert(source, "children", children)
    metadata = models(
        ("parents", [N("id", sa.Integer, primary_key=True), N("name", sa.Text)]),
        (
            "children",
            [
                N("id", sa.Integer, primary_key=True),
                N(
                    "parent",
                    sa.Integer,
                    sa.ForeignKey("parents.id", name="children_parent_fkey"),
                    nullable=not required,
                ),
                N("note", sa.Text),
            ],
        ),
    )
    part = {"load_after": ["parents"], **(QUARANTINE if child is None else child)}
    return begin(job_for(source, dsn, plan_for(metadata, {"parents": QUARANTINE, "children": part})))


PARENTS = [(1, "a"), (2, b"never text"), (3, "c")]
CHILDREN = [
    (10, 1, "ok"),
    (11, 2, "of a quarantined parent"),
    (12, 99, "of nobody"),
    (13, None, "of none"),
    (14, 3, "ok"),
]


def test_children_of_missing_and_of_quarantined_parents_are_quarantined(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN)
    load_all(job)
    assert staged(job, "children", "id") == [(10,), (13,), (14,)]
    assert quarantined(job, "children") == {"[11]": ("parent", "orphan"), "[12]": ("parent", "orphan")}
    finish_schema(job)


def test_an_orphan_stops_the_load_by_name(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN, child={})
    load_table(job, "parents")
    with pytest.raises(RejectedRows) as refused:
        load_table(job, "children")
    named = "table children, column parent, key [12], value 99: foreign key children_parent_fkey: no row of parents"
    assert named in str(refused.value)
    assert "key [11], value 2" in str(refused.value)
    assert "2 values cannot cross (parent: 2 by rule orphan)" in str(refused.value)


def test_an_orphan_becomes_null_where_the_plan_says_so(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN, child={"columns": {"parent": {"invalid": "null"}}})
    load_all(job)
    assert staged(job, "children", "id, parent") == [(10, 1), (11, None), (12, None), (13, None), (14, 3)]
    assert altered(job, "children") == {
        ("[11]", "parent"): ("null", "integer", b"2"),
        ("[12]", "parent"): ("null", "integer", b"99"),
    }
    finish_schema(job)


def test_an_orphan_in_a_required_column_cannot_become_null(tmp_path: Path, target_dsn: str) -> None:
    child = {"columns": {"parent": {"invalid": "null"}}}
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN, child=child, required=True)
    load_table(job, "parents")
    with pytest.raises(RejectedRows, match="policy null does not apply"):
        load_table(job, "children")


def test_a_child_is_not_loaded_before_its_parent(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN)
    with pytest.raises(
        MigrationError, match="children_parent_fkey needs parents to be loaded first. Clear its load task"
    ):
        load_table(job, "children")


def test_loading_both_again_after_their_keys_were_made_gives_the_same_state(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, CHILDREN)
    load_all(job)
    before = everything(job)
    finish_schema(job)
    load_all(job)
    assert everything(job) == before
    finish_schema(job)


def test_thousands_of_quarantined_parents_take_their_children_along(tmp_path: Path, target_dsn: str) -> None:
    parents = [(n, b"bad" if n % 2 else "ok") for n in range(6000)]
    job = family(tmp_path, target_dsn, parents, [(n, n, None) for n in range(0, 6000, 3)])
    load_all(job)
    assert staged(job, "children", "count(*), sum(parent % 2)") == [(1000, 0)]
    assert len(quarantined(job, "children")) == 1000
    finish_schema(job)


def test_an_orphan_that_also_has_another_fault_is_one_row_in_the_quarantine(tmp_path: Path, target_dsn: str) -> None:
    job = family(tmp_path, target_dsn, PARENTS, [(1, "abc", b"bad"), (2, 99, Raw(b"\xff")), (3, 1, "ok")])
    load_all(job)
    assert staged(job, "children", "id") == [(3,)]
    assert set(quarantined(job, "children")) == {"[1]", "[2]"}


def test_a_long_orphan_is_found_though_no_block_carries_it(tmp_path: Path, target_dsn: str) -> None:
    children = [(n, 1, "x") for n in range(100)] + [(200, 99, "x" * 500_000), (201, 1, "y" * 500_000)]
    job = family(tmp_path, target_dsn, PARENTS, children)
    load_all(job)
    assert staged(job, "children", "count(*), max(length(note))") == [(101, 500_000)]
    assert quarantined(job, "children") == {"[200]": ("parent", "orphan")}


def composite(folder: Path, dsn: str, children: list[tuple[Any, ...]], **columns: Any) -> Job:
    """Parents named by (region, code), of which one is quarantined, and children that refer to both columns."""
    source = database(
        folder / "app.db",
        "CREATE TABLE parents (region TEXT COLLATE NOCASE, code, name, PRIMARY KEY (region, code))",
        "CREATE TABLE children (id INTEGER PRIMARY KEY, region TEXT COLLATE NOCASE, code)",
    )
    insert(
        source,
        "parents",
        [("dk", 1, "ok"), ("dk", 2, b"bad"), (None, 3, "null in the key"), ('it\'s "q"', 4, b"bad")],
    )
    insert(source, "children", children)
    metadata = models(
        (
            "parents",
            [
                N("region", sa.Text, primary_key=True),
                N("code", sa.Integer, primary_key=True),
                N("name", sa.Text),
            ],
        ),
        (
            "children",
            [
                N("id", sa.Integer, primary_key=True),
                N("region", sa.Text),
                N("code", sa.Integer),
                sa.ForeignKeyConstraint(["region", "code"], ["parents.region", "parents.code"], name="pair"),
            ],
        ),
    )
    part = {"load_after": ["parents"], **QUARANTINE, "columns": columns}
    return begin(job_for(source, dsn, plan_for(metadata, {"parents": QUARANTINE, "children": part})))


def test_a_composite_foreign_key_is_compared_whole_and_byte_for_byte(tmp_path: Path, target_dsn: str) -> None:
    children = [
        (1, "dk", 1), (2, "DK", 1), (3, "dk", 2), (4, "dk", 9), (5, "dk", None), (6, None, 77), (7, None,
        None),
        (8, "it's \"q\"", 4), (9, "no", 1),
    ]  # fmt: skip
    job = composite(tmp_path, target_dsn, children)
    load_all(job)
    assert set(quarantined(job, "parents")) == {"[2]", "[3]", "[4]"}
    assert staged(job, "children", "id") == [(1,), (5,), (6,), (7,)]
    assert quarantined(job, "children")["[2]"] == ("region", "orphan")
    finish_schema(job)


def test_a_null_in_the_key_of_a_quarantined_parent_hides_no_child(tmp_path: Path, target_dsn: str) -> None:
    job = composite(tmp_path, target_dsn, [(n, "dk", 1) for n in range(200)])
    assert [f["loaded"] for f in load_all(job).values()] == [1, 200]


def test_one_column_of_a_composite_foreign_key_made_null_frees_the_row(tmp_path: Path, target_dsn: str) -> None:
    job = composite(tmp_path, target_dsn, [(1, "no", 1)], region={"invalid": "null"}, code={"invalid": "null"})
    load_all(job)
    assert staged(job, "children") == [(1, None, None)]
    assert len(altered(job, "children")) == 2
    finish_schema(job)


def test_infinity_can_be_a_quarantined_parent(tmp_path: Path, target_dsn: str) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE p (x REAL UNIQUE, v)", "CREATE TABLE c (x REAL)")
    insert(source, "p", [(float("inf"), b"bad"), (1.5, "ok"), (1e300, b"bad")])
    insert(source, "c", [(float("inf"),), (1.5,), (1e300,)])
    metadata = models(
        ("p", [N("x", sa.Double, unique=True), N("v", sa.Text)]),
        ("c", [N("x", sa.Double, sa.ForeignKey("p.x"))]),
    )
    plan = plan_for(metadata, {"p": QUARANTINE, "c": {"load_after": ["p"], **QUARANTINE}})
    job = begin(job_for(source, target_dsn, plan))
    load_all(job)
    assert staged(job, "c") == [(1.5,)]
    finish_schema(job)


def tree(folder: Path, dsn: str, rows: list[tuple[Any, ...]], **part: Any) -> Job:
    """Nodes (id, up, name) where up refers to another node."""
    source = database(folder / "app.db", "CREATE TABLE nodes (id INTEGER PRIMARY KEY, up, name)")
    insert(source, "nodes", rows)
    parts = [
        N("id", sa.Integer, primary_key=True),
        N("up", sa.Integer, sa.ForeignKey("nodes.id")),
        N("name", sa.Text),
    ]
    return begin(job_for(source, dsn, plan_for(models(("nodes", parts)), {"nodes": part})))


def test_a_table_can_refer_to_itself(tmp_path: Path, target_dsn: str) -> None:
    rows = [(1, 3, "a"), (2, 1, "b"), (3, None, "c"), (4, 4, "d")]
    job = tree(tmp_path, target_dsn, rows)
    load_table(job, "nodes")
    assert staged(job, "nodes") == rows
    finish_schema(job)
    load_table(job, "nodes")


def test_descendants_of_a_quarantined_row_of_the_same_table_follow_it(tmp_path: Path, target_dsn: str) -> None:
    rows = [
        (1, None, "ok"),
        (2, None, b"bad"),
        (3, 2, "child"),
        (4, 3, "grandchild"),
        (5, 4, "and so on"),
        (6, 1, "ok"),
        (7, 99, ""),
    ]
    job = tree(tmp_path, target_dsn, rows, **QUARANTINE)
    figures = load_table(job, "nodes")
    assert staged(job, "nodes", "id") == [(1,), (6,)]
    assert (figures["source_rows"], figures["loaded"], figures["quarantined"]) == (7, 2, 5)
    assert quarantined(job, "nodes") == {
        "[2]": ("name", "inexact"), **{f"[{n}]": ("up", "orphan") for n in (3, 4, 5, 7)},
    }  # fmt: skip
    finish_schema(job)
    before = everything(job)
    load_table(job, "nodes")
    assert everything(job) == before


def test_children_of_a_quarantined_row_of_the_same_table_can_lose_it(tmp_path: Path, target_dsn: str) -> None:
    part = {"columns": {"up": {"invalid": "null"}, "name": {"invalid": "quarantine"}}}
    job = tree(tmp_path, target_dsn, [(1, None, "ok"), (2, 1, b"bad"), (3, 2, "child"), (4, 3, "grandchild")], **part)
    load_table(job, "nodes")
    assert staged(job, "nodes", "id, up") == [(1, None), (3, None), (4, 3)]
    assert altered(job, "nodes") == {("[3]", "up"): ("null", "integer", b"2")}
    finish_schema(job)
