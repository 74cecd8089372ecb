"""Source, plan and target side by side: which column goes where, and every way in which they can differ."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from migration.catalog import Catalog, Column, Table
from migration.mapping import differences, table_map
from tests.engine.support import models, plan_for

N = sa.Column


def table(name: str, *columns: str, pk: int = 1, **settings: Any) -> Table:
    """A table whose first ``pk`` columns are its primary key."""
    made = tuple(Column(c, "INTEGER", False, None, n if n <= pk else 0) for n, c in enumerate(columns, 1))
    return Table(name, made, **settings)


def catalog(*tables: Table, others: tuple[tuple[str, str], ...] = ()) -> Catalog:
    return Catalog(tables, others)


def family() -> sa.MetaData:
    """Parents p (id) and children c (id, p, v)."""
    key = sa.ForeignKey("p.id", name="c_p_fkey")
    return models(
        ("p", [N("id", sa.Integer, primary_key=True)]),
        ("c", [N("id", sa.Integer, primary_key=True), N("p", sa.Integer, key), N("v", sa.Text)]),
    )


def found(parts: dict[str, Any], *tables: Table, metadata: sa.MetaData | None = None) -> list[str]:
    metadata = metadata or family()
    return differences(plan_for(metadata, parts), catalog(*tables), metadata)


P, C = table("p", "id"), table("c", "id", "p", "v")
BOTH: dict[str, Any] = {"p": {}, "c": {"load_after": ["p"]}}


def test_a_source_that_fits_has_no_differences() -> None:
    assert found(BOTH, P, C) == []


def test_the_map_follows_renames_and_leaves_out_what_is_excluded() -> None:
    metadata = models(
        ("parents", [N("key", sa.Integer, primary_key=True)]),
        (
            "children",
            [
                N("id", sa.Integer, primary_key=True),
                N("parent", sa.ForeignKey("parents.key", name="fk")),
                N("extra", sa.Text),
            ],
        ),
    )
    plan = plan_for(
        metadata,
        {
            "P t": {"rename": "parents", "columns": {"id": {"rename": "key"}}},
            "C t": {
                "rename": "children", "load_after": ["P t"], "columns": {"p": {"rename": "parent"}},
                "exclude_columns": ["old"],
            },
        },
    )  # fmt: skip
    source = catalog(table("P t", "id"), table("C t", "old", "id", "p", pk=0))
    assert differences(plan, source, metadata) == []
    mapped = table_map(plan, "C t", source, metadata)
    assert [(name, column.name) for name, column in mapped.columns] == [("id", "id"), ("p", "parent")]
    (key,) = mapped.foreign_keys
    assert (key.name, key.columns, key.parent, key.parent_columns) == ("fk", ("p",), "P t", ("id",))


def test_a_foreign_key_of_a_column_that_only_the_target_has_is_left_alone() -> None:
    source = (P, table("c", "id", "v"))
    assert found(BOTH, *source) == []
    metadata = family()
    assert table_map(plan_for(metadata, BOTH), "c", catalog(*source), metadata).foreign_keys == ()


@pytest.mark.parametrize(
    ("parts", "tables", "sentence"),
    [
        (BOTH, (P,), "table c is in the plan and not in the source"),
        (BOTH, (P, table("C", "id", "p", "v")),
        "table c is in the plan and not in the source; it has C, which the plan can name instead"),
        (BOTH, (P, C, table("d", "id")),
        "table d is in the source and not in the plan: plan it, or name it under exclude_tables"),
        (
            BOTH, (P, table("c", "id", "p", "v", "w")),
            "table c: column w is in the source and not in the target: rename it, or name it under exclude_columns",
        ),
        (BOTH, (table("p", "key"), C),
        "table p: column key is in the source and not in the target: rename it, or name it under exclude_columns"),
        (BOTH | {"p": {"columns": {"x": {}}}}, (P, C),
        "table p: the plan speaks of column x, which the source does not have (it has id)"),
        (BOTH | {"p": {"exclude_columns": ["x"]}}, (P, C),
        "table p: the plan speaks of column x, which the source does not have (it has id)"),
        (
            {"p": {}, "c": {"load_after": ["p"], "columns": {"v": {"rename": "p"}}}}, (P, C),
            "table c: columns p and v are both to become p: rename or exclude one",
        ),
        ({"p": {}, "c": {}}, (P, C), "table c: its foreign key c_p_fkey needs `load_after: [p]` in the plan"),
        ({"c": {}}, (C,), "table c: its foreign key c_p_fkey points to p, which the plan lacks"),
        (
            {"p": {"exclude_columns": ["id"]}, "c": {"load_after": ["p"]}}, (P, C),
            "table c: its foreign key c_p_fkey needs id of p, which the source does not fill",
        ),
        (
            {"p": {}, "c": {"load_after": ["p"], "references": [{"columns": ["q"], "table": "p",
            "parent_columns": ["nr"]}]}}, (P, C),
            "table c: its reference to p names q, which c does not have",
        ),
        (
            {"p": {}, "c": {"references": [{"columns": ["p"], "table": "p", "parent_columns": ["nr"]}]}}, (P, C),
            "table c: its reference to p names nr, which p does not have",
        ),
        (
            BOTH, (P, table("c", "id", "p", "v", rowid_name=None, pk=0)),
            "table c: nothing names its rows, since columns are called rowid, _rowid_ and oid: rename one of them",
        ),
        (
            BOTH | {"c": {"load_after": ["p"], "exclude_columns": ["id"]}}, (P, table("c", "id", "p", "v",
            without_rowid=True, rowid_name=None)),
            "table c: id is part of what names its rows and cannot be excluded",
        ),
    ],
)  # fmt: skip
def test_each_difference_is_a_sentence(parts: dict[str, Any], tables: tuple[Table, ...], sentence: str) -> None:
    assert sentence in found(parts, *tables)


def test_a_view_in_a_tables_place_is_named() -> None:
    metadata = models(("p", [N("id", sa.Integer, primary_key=True)]))
    source = catalog(others=(("view", "p"),))
    assert differences(plan_for(metadata), source, metadata) == [
        "table p is in the plan and not in the source; it has a view of that name"
    ]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            N("x", sa.Text, nullable=False),
            "table p: column x is required by the target and not in the source (it has id)",
        ),
        (N("x", sa.Text), None),
        (N("x", sa.Text, nullable=False, server_default="y"), None),
        (N("x", sa.Integer, sa.Computed("id + 1"), nullable=False), None),
        (N("x", sa.Integer, sa.Identity(), nullable=False), None),
    ],
    ids=["required", "optional", "default", "computed", "identity"],
)
def test_a_column_that_only_the_target_has_must_fill_itself(column: sa.Column[Any], sentence: str | None) -> None:
    metadata = models(("p", [N("id", sa.Integer, primary_key=True), column]))
    assert found({"p": {}}, P, metadata=metadata) == ([sentence] if sentence else [])


def test_a_column_that_the_target_computes_is_not_to_be_filled() -> None:
    metadata = models(("p", [N("id", sa.Integer, primary_key=True), N("x", sa.Integer, sa.Computed("id + 1"))]))
    source = table("p", "id", "x")
    assert found({"p": {}}, source, metadata=metadata) == [
        "table p: column x is computed by the target: name x under exclude_columns"
    ]
    assert found({"p": {"exclude_columns": ["x"]}}, source, metadata=metadata) == []


def test_a_key_that_the_target_makes_itself_may_be_missing_from_the_source() -> None:
    metadata = models(("p", [N("id", sa.Integer, primary_key=True), N("v", sa.Text)]))
    assert found({"p": {}}, table("p", "v", pk=0), metadata=metadata) == []


def test_a_table_may_refer_to_itself_without_being_loaded_after_itself() -> None:
    metadata = models(("p", [N("id", sa.Integer, primary_key=True), N("up", sa.Integer, sa.ForeignKey("p.id"))]))
    assert found({"p": {}}, table("p", "id", "up"), metadata=metadata) == []
