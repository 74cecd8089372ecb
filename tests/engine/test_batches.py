"""Tables are put into tasks so that each goes once, in order, under an id that Airflow takes."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter

from hypothesis import given, settings
from hypothesis import strategies as st

from migration.batches import FEW, SMALL, TOGETHER, batches
from migration.plan import ColumnPlan, ForeignKeyPlan, Plan, TablePlan

NAMES = st.one_of(
    st.text(min_size=1, max_size=30),
    st.sampled_from(
        ["level_1_small", "level_1_small_2", "level_2_small", "a b", "a_b", "a.b", "a-b", "日本", "語", "é"]
    ),
)


def plan_of(tables: dict[str, tuple[int | None, tuple[str, ...]]]) -> Plan:
    """A plan of tables with (rows, the tables that its foreign keys lead to)."""
    return Plan(
        name="p",
        title="P",
        source="/p.db",
        target="p_target",
        tables={
            name: TablePlan(
                rows=rows,
                columns={"id": ColumnPlan(type="bigint")},
                foreign_keys={
                    f"fk{i}": ForeignKeyPlan(columns=("id",), table=p, parent_columns=("id",))
                    for i, p in enumerate(parents)
                },
            )
            for name, (rows, parents) in tables.items()
        },
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of few and of many tables, whose foreign keys lead anywhere, in circles too."""
    names = draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
    names += [f"t{n}" for n in range(draw(st.sampled_from([0, FEW, 60])))]
    names = list(dict.fromkeys(names))
    rows = st.sampled_from([None, 0, 1, SMALL - 1, SMALL, 10 * SMALL])
    parents = st.lists(st.integers(0, len(names) - 1), max_size=2, unique=True)
    return plan_of({name: (draw(rows), tuple(names[i] for i in draw(parents))) for name in names})


@settings(max_examples=30, deadline=None)
@given(plans())
def test_every_table_is_in_one_task_which_comes_after_those_it_needs(plan: Plan) -> None:
    found = batches(plan)
    assert sorted(t for b in found for t in b.tables) == sorted(plan.tables)
    by_id = {b.task_id: b for b in found}
    assert len(by_id) == len(found)
    order = list(TopologicalSorter({b.task_id: b.after for b in found}).static_order())  # CycleError on a circle
    place = {table: order.index(b.task_id) for b in found for table in b.tables}
    for batch in found:
        for table in batch.tables:
            for parent in plan.before(table):
                assert place[parent] < place[table]
                assert any(parent in by_id[other].tables for other in batch.after)


@settings(max_examples=30, deadline=None)
@given(plans())
def test_ids_are_valid_whatever_the_tables_are_called(plan: Plan) -> None:
    for batch in batches(plan):
        assert re.fullmatch("[A-Za-z0-9_-]{1,243}", batch.task_id)
        if batch.task_id in plan.tables:  # no group of tables, and no other table, has a table's name
            assert batch.tables == (batch.task_id,)


@settings(max_examples=30, deadline=None)
@given(plans())
def test_only_small_tables_share_a_task_and_only_among_many(plan: Plan) -> None:
    for batch in batches(plan):
        assert len(batch.tables) <= TOGETHER
        if len(batch.tables) > 1:
            assert len(plan.tables) > FEW
            assert all((plan.tables[t].rows or 0) < SMALL and plan.tables[t].rows is not None for t in batch.tables)


def test_few_tables_keep_a_task_each_whatever_their_size() -> None:
    names = [f"t{n}" for n in range(FEW)]
    assert [b.task_id for b in batches(plan_of(dict.fromkeys(names, (0, ()))))] == names


def test_a_group_is_named_by_level_and_says_what_it_carries() -> None:
    tables: dict[str, tuple[int | None, tuple[str, ...]]] = {f"t{n:02}": (5, ()) for n in range(50)}
    tables |= {"large": (SMALL, ()), "unknown": (None, ()), "child": (5, ("t00",)), "niece": (5, ("t00",))}
    found = {b.task_id: b for b in batches(plan_of(tables))}
    assert list(found) == ["large", "unknown", "level_1_small", "level_1_small_2", "level_2_small"]
    assert found["level_1_small"].title == "level_1_small: t00 … t39 (40 tables)"
    assert found["level_2_small"].after == ("level_1_small",)
    assert found["level_2_small"].doc.splitlines()[2:] == ["    child", "    niece"]


def test_a_name_that_is_no_id_is_made_one_and_shown_as_it_is() -> None:
    names = ["a b", "a_b", "a.b", "Größe", "日本", "語"]
    found = batches(plan_of(dict.fromkeys(names, (None, ()))))
    assert {b.title: b.task_id for b in found} == {
        "a b": "a_b_2",
        "a_b": "a_b",
        "a.b": "a_b_3",
        "Größe": "Gro_e",
        "日本": "table",
        "語": "table_2",
    }


def test_a_table_in_ranges_has_a_batch_of_its_own_however_few_its_rows() -> None:
    plan = plan_of({f"t{n}": (5, ()) for n in range(FEW + 1)})
    divided = plan.model_copy(
        update={"tables": plan.tables | {"t3": plan.tables["t3"].model_copy(update={"ranges": 4})}}
    )
    split = {batch.task_id: batch.tables for batch in batches(divided) if batch.split}
    assert split == {"t3": ("t3",)}
    assert not any(batch.split for batch in batches(plan))
