"""Plans: read from YAML, validated as a whole, every fault told with its place; order, policies and digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from migration.errors import MigrationError, PlanError
from migration.job import Job, Params
from migration.plan import SPLIT_ROWS, ColumnPlan, Invalid, Plan, TablePlan, plan_files, plan_path, read_plan

HEAD = "name: shop\ntitle: The shop\nmodels: shop.models:Base\nsource: a\ntarget: b\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def plan(**tables: Any) -> Plan:
    parts = {name: TablePlan.model_validate(part) for name, part in tables.items()}
    return Plan(name="shop", title="", models="m:b", source="a", target="b", tables=parts)


def test_the_plans_in_the_product_are_valid_and_named_as_their_files() -> None:
    names = [path.stem for path in plan_files()]
    assert "widgettdc" in names
    for name in names:
        assert read_plan(plan_path(name)).name == name


def test_the_first_plan_loads_parents_before_children_and_the_rest_in_parallel() -> None:
    levels = read_plan(plan_path("widgettdc")).levels
    assert set(levels[0]) == {
        "memory_entities", "raw_documents", "decisions", "pal_focus_windows", "pal_stress_levels",
    }  # fmt: skip
    assert set(levels[1]) == {"memory_relations", "memory_tags", "structured_facts", "evolution_kpis"}


def test_everything_that_a_plan_can_say_is_read(tmp_path: Path) -> None:
    text = HEAD + (
        "live_schema: shop\nexclude_tables: [log]\ntables:\n  a: {}\n  b:\n    rename: bees\n    invalid: quarantine\n"
        "    load_after: [a]\n    references: [{columns: [x], table: a}]\n    exclude_columns: [old]\n"
        "    columns:\n      x: {rename: y, cast: epoch_s, invalid: round}\n"
    )
    found = read_plan(written(tmp_path, text))
    table = found.tables["b"]
    assert (found.live_schema, found.exclude_tables, found.target_table("b")) == ("shop", ("log",), "bees")
    assert (table.target_column("x"), table.cast("x"), table.target_column("z"), table.cast("z")) == (
        "y",
        "epoch_s",
        "z",
        None,
    )
    assert table.references[0].parent_columns == ("id",)
    assert table.policy("x", Invalid.STOP) is Invalid.ROUND
    assert table.policy("z", Invalid.STOP) is Invalid.QUARANTINE


@pytest.mark.parametrize("word", ["null", '"null"', "'null'", "Null", "NULL", "~"])
def test_the_policy_null_may_be_written_without_quotes_and_nothing_else_passes_for_it(
    word: str, tmp_path: Path
) -> None:
    text = HEAD + f"tables:\n  t:\n    invalid: {word}\n    columns: {{c: {{invalid: {word}}}}}\n"
    if "null" not in word:
        with pytest.raises(PlanError, match="tables.t.invalid: Input should be 'stop'"):
            read_plan(written(tmp_path, text))
        return
    table = read_plan(written(tmp_path, text)).tables["t"]
    assert table.invalid is Invalid.NULL
    assert table.policy("c", Invalid.STOP) is Invalid.NULL


def test_no_policy_is_no_policy(tmp_path: Path) -> None:
    table = read_plan(written(tmp_path, HEAD + "tables:\n  t: {invalid: , rename: null}\n")).tables["t"]
    assert table.invalid is None
    assert table.rename is None
    assert ColumnPlan(invalid=None).invalid is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "plan: Input should be"),
        ("- a\n- b\n", "plan: Input should be"),
        (HEAD, "tables: Field required"),
        (HEAD + "tables: {}\n", "tables: Dictionary should have at least 1 item"),
        (HEAD + "tables:\n  t:\n", "tables.t: Input should be"),
        (
            HEAD + "tables: {t: {invalid: ignore}}\n",
            "tables.t.invalid: Input should be 'stop', 'quarantine', 'null', 'round', 'strip', 'text' or 'bytes'",
        ),
        (HEAD + "tables: {t: {colums: {}}}\n", "tables.t.colums: Extra inputs are not permitted"),
        (HEAD + "tables: {t: {columns: {c: {casts: x}}}}\n", "tables.t.columns.c.casts: Extra inputs"),
        (HEAD + "tables: {t: {load_after: [u]}}\n", "table t is to be loaded after u, which the plan does not have"),
        (
            HEAD + "tables: {t: {references: [{columns: [x], table: u}]}}\n",
            "loaded after u, which the plan does not have",
        ),
        (HEAD + "tables: {t: {references: [{columns: [x, y], table: t}]}}\n", "pairs columns of different number"),
        (HEAD + "tables: {t: {}}\nexclude_tables: [t]\n", "t both planned and excluded"),
        (HEAD + "tables: {t: {rename: u}, u: {}}\n", "two tables or views are renamed to u"),
        (HEAD + "tables: {a: {load_after: [b]}, b: {load_after: [a]}}\n", "load_after goes in a circle: "),
        (HEAD.replace("shop\n", "Shop\n", 1) + "tables: {t: {}}\n", "name: String should match pattern"),
        (HEAD.replace("name: shop", f"name: {'x' * 41}") + "tables: {t: {}}\n", "name: String should match"),
        (HEAD + "tables: {t: {exclude_columns: a}}\n", "tables.t.exclude_columns: Input should be a valid tuple"),
        (HEAD + "tables: {t: {columns: {no: {}}}}\n", "tables.t.columns.0.* Input should be a valid string"),
        (HEAD + "tables: {t: {}, t: {}}\n", "is not valid YAML: .*t stands here twice.*line 6"),
        (HEAD + "tables:\n  t: {invalid: stop}\n  u: {}\n  t: {}\n", "t stands here twice"),
        (HEAD + "name: other\ntables: {t: {}}\n", "name stands here twice"),
        (HEAD + "tables: {t: {columns: {c: {invalid: stop, invalid: round}}}}\n", "invalid stands here twice"),
        (HEAD + "tables: [\n", "is not valid YAML"),
        (HEAD + "tables: {t: &x {invalid: !!python/object:os.system x}}\n", "is not valid YAML"),
        ("\t- x", "is not valid YAML"),
    ],
)
def test_each_fault_of_a_plan_is_told_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=words) as raised:
        read_plan(written(tmp_path, text))
    assert str(raised.value).startswith("The plan shop.yaml is not valid")
    assert "\n" not in str(raised.value)


def test_all_faults_of_a_plan_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as raised:
        read_plan(written(tmp_path, HEAD + "colour: red\ntables: {t: {invalid: x, size: 1}}\n"))
    for fault in ("colour: Extra", "tables.t.invalid: Input", "tables.t.size: Extra"):
        assert fault in str(raised.value)


def test_anchors_and_merges_of_yaml_work_in_a_plan(tmp_path: Path) -> None:
    text = HEAD + "tables:\n  a: &usual {invalid: quarantine}\n  b: {<<: *usual, rename: c}\n"
    assert read_plan(written(tmp_path, text)).tables["b"].invalid is Invalid.QUARANTINE


def test_a_plan_that_is_missing_or_unreadable_says_where_plans_are(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="There is no plan shop.yaml; plans are YAML files in "):
        read_plan(tmp_path / "shop.yaml")
    (tmp_path / "shop.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(PlanError, match="The plan shop.yaml cannot be read"):
        read_plan(tmp_path / "shop.yaml")
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path)


@pytest.mark.parametrize("name", ["", "../shop", "a/b", "Shop", "1shop", "shop\n", "shöp", "a-b", "a.yaml", "x" * 41])
def test_a_plans_name_is_no_path(name: str) -> None:
    with pytest.raises(PlanError, match="is no plan's name"):
        plan_path(name)


def test_tables_are_loaded_after_all_that_they_refer_to() -> None:
    found = plan(
        d={"load_after": ["b", "c"]},
        c={"references": [{"columns": ["x"], "table": "a"}]},
        b={"load_after": ["a", "b"], "references": [{"columns": ["y"], "table": "b"}]},
        a={},
        e={},
    )
    assert [set(level) for level in found.levels] == [{"a", "e"}, {"b", "c"}, {"d"}]
    assert found.before("b") == ("a",)
    assert found.before("d") == ("b", "c")


def test_a_tables_digest_changes_with_its_own_part_of_the_plan_only() -> None:
    one = plan(a={}, b={})
    other = plan(a={}, b={"columns": {"x": {"invalid": "round"}}})
    assert one.tables["a"].digest == other.tables["a"].digest
    assert one.tables["b"].digest != other.tables["b"].digest


def test_a_plan_cannot_be_changed_after_it_was_validated() -> None:
    with pytest.raises(ValidationError):
        plan(a={}).name = "other"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"mode": "real"}, "mode is 'real'; it can be rehearsal or cut_over"),
        ({"approval": ""}, "approval is ''; it can be ask or given"),
        ({"quarantine": None}, "quarantine is None; it can be stop or allow"),
        ({"on_live_tables": "drop"}, "on_live_tables is 'drop'; it can be refuse or retire"),
        ({"rows_per_block": 63}, "rows_per_block is 63; it can be a whole number from 64 to 65536"),
        ({"rows_per_block": 65537}, "rows_per_block"),
        ({"rows_per_block": "8192"}, "rows_per_block"),
        ({"rows_per_block": True}, "rows_per_block"),
        ({"rows_per_block": 100.0}, "rows_per_block"),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_what_it_can_be(params: Any, words: str) -> None:
    with pytest.raises(MigrationError, match=f"Parameter {words}"):
        Params(**params)


def test_names_of_a_run_are_distinct_short_and_safe(tmp_path: Path) -> None:
    long = plan(a={}).model_copy(update={"name": "x" * 40})
    runs = ["a", "a ", "../../etc/passwd", "a" * 300, "manual__2026-03-01T10:00:00+00:00", "\n;\0", "Ærø"]
    jobs = [Job(long, run, "", Path("x"), tmp_path) for run in runs]
    assert len({job.staging for job in jobs}) == len({job.folder for job in jobs}) == len(runs)
    for job in jobs:
        assert len(job.staging) <= 63
        assert len(job.retired) <= 63
        assert job.folder.parent == tmp_path / "snapshots"
        assert len(job.folder.name) < 80
        assert job.folder.name.isascii()
        assert not {*"/\\.\0\n "} & {*job.folder.name}


def test_a_job_never_shows_its_connection_string(tmp_path: Path) -> None:
    assert "s3cret" not in repr(Job(plan(a={}), "r", "postgresql://u:s3cret@h/d", tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("written_as", "rows", "split"),
    [
        (None, None, False),
        (None, SPLIT_ROWS - 1, False),
        (None, SPLIT_ROWS, True),
        ("auto", None, True),
        ("12", None, True),
        ("off", SPLIT_ROWS, False),
        ("'off'", SPLIT_ROWS, False),
    ],
)
def test_a_table_is_divided_where_the_plan_says_so_or_its_rows_are_many(
    tmp_path: Path, written_as: str | None, rows: int | None, split: bool
) -> None:
    ranges = f"    ranges: {written_as}\n" if written_as else ""
    path = written(tmp_path, f"{HEAD}tables:\n  t:\n{ranges}    rows: {'null' if rows is None else rows}\n")
    assert read_plan(path).tables["t"].split is split


@pytest.mark.parametrize("wrong", ["0", "1001", "2.5", "true", "many"])
def test_a_number_of_ranges_that_cannot_be_is_refused_with_its_place(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(PlanError, match=r"tables\.t\.ranges"):
        read_plan(written(tmp_path, f"{HEAD}tables:\n  t: {{ranges: {wrong}}}\n"))


def test_how_a_table_is_divided_is_no_part_of_what_its_loads_are_held_against() -> None:
    digests = {(t.digest, t.form_digest) for t in (TablePlan(), TablePlan(ranges=4), TablePlan(ranges="off"))}
    assert len(digests) == 1
