"""The plan's views belong to the run: made when the tables are finished, cut over, retired and brought back with them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from migration.errors import CutOverRefused, TargetError, TransientError
from migration.job import Job, Params
from migration.load.table import load_table
from migration.plan import Plan
from migration.postgres import moving
from migration.postgres.cutover import cut_over, discard_stale, rollback
from migration.postgres.gate import gate
from migration.postgres.live import blockers, changes, facts
from migration.postgres.schema import create_schema, finish_schema
from migration.preflight import backup, preflight
from migration.verify import verify_table
from tests.engine.described import described, finish, key
from tests.engine.staged import CUT_OVER, admin, ask, query, run_of, unchanged
from tests.engine.support import database, schemas

TABLES: dict[str, Any] = {
    "t": {"columns": {"id": {"type": "bigint", "identity": True}, "v": "text"}, "primary_key": "id"},
    "c": {"columns": {"id": "integer!", "t": "bigint"}, "primary_key": "id", "foreign_keys": {"f": key("t", "t")}},
}
ODD, ODD_NAME = 'odd "%s" view', '"odd ""%s"" view"'
VIEWS = {
    "names": "CREATE VIEW names AS SELECT id, v AS name FROM t",
    # The primary key decides that v needs no place in GROUP BY: the view depends on it.
    "counted": "CREATE VIEW counted (name, n) AS SELECT t.v, count(*) FROM t JOIN c ON c.t = t.id GROUP BY t.id",
    ODD: 'CREATE VIEW "odd ""%s"" view" AS SELECT name, \'100%\' AS "%" FROM names',
}


@pytest.fixture
def plan() -> Plan:
    return described(TABLES, VIEWS)


def job_for(dsn: str, folder: Path, plan: Plan, run_id: str = "run 1", params: Params = CUT_OVER) -> Job:
    source = folder / "app.db"
    if not source.exists():
        database(
            source,
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
            "CREATE TABLE c (id INTEGER PRIMARY KEY, t INTEGER)",
            "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
            "INSERT INTO c VALUES (1, 1), (2, 1)",
        )
    return Job(plan, run_id, dsn, source, folder / "home", params)


def stage(job: Job) -> Job:
    """All steps before the cut-over."""
    preflight(job)
    backup(job)
    create_schema(job)
    return finish(job)


@pytest.fixture
def staged(target_dsn: str, tmp_path: Path, plan: Plan) -> Job:
    return stage(job_for(target_dsn, tmp_path, plan))


def views_of(job: Job, schema: str) -> dict[str, int]:
    found = query(
        job.target,
        "SELECT relname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = %s AND relkind = 'v'",
        schema,
    )
    return dict(found)


def gated(job: Job) -> list[str]:
    with admin(job.target) as connection:
        return gate(connection, job)


class TestStaging:
    def test_has_them_when_the_tables_are_finished(self, staged: Job) -> None:
        assert views_of(staged, staged.staging).keys() == set(VIEWS)
        assert ask(staged, "SELECT * FROM staging.counted") == [("x", 2)]
        assert {n: v["oid"] for n, v in run_of(staged)["staged"].items() if n in VIEWS} == views_of(
            staged, staged.staging
        )
        assert gated(staged) == []

    def test_loses_them_when_a_table_is_loaded_again(self, staged: Job) -> None:
        load_table(staged, "t")
        assert views_of(staged, staged.staging) == {}
        assert "view names: not in" in "\n".join(gated(staged))
        load_table(staged, "c")
        finish_schema(staged)
        assert views_of(staged, staged.staging).keys() == set(VIEWS)
        for table in TABLES:
            verify_table(staged, table)
        assert gated(staged) == []

    def test_finished_again_replaces_them(self, staged: Job) -> None:
        query(staged.target, f"CREATE OR REPLACE VIEW {staged.staging}.names AS SELECT id, 'mine' AS name FROM {staged.staging}.t")  # fmt: skip
        assert finish_schema(staged)["created"] == list(VIEWS)
        assert ask(staged, "SELECT name FROM staging.names ORDER BY 1") == [("x",), ("y",)]

    def test_created_again_or_discarded_goes_with_them(self, staged: Job, tmp_path: Path, plan: Plan) -> None:
        create_schema(staged)
        assert views_of(staged, staged.staging) == {}
        finish(staged)
        assert rollback(staged) == {"status": "rolled_back", "restored": 0, "dropped": 2}
        assert schemas(staged.target) == {"public", "migration"}
        stage(job_for(staged.target, tmp_path, plan, "run 2"))
        third = job_for(staged.target, tmp_path, plan, "run 3")
        with admin(staged.target) as connection:
            assert discard_stale(connection, third) == ["run 2"]
        assert schemas(staged.target) == {"public", "migration"}

    def test_keeps_what_somebody_hung_on_them(self, staged: Job) -> None:
        query(staged.target, f"CREATE VIEW public.mine AS SELECT * FROM {staged.staging}.names")
        for act in (finish_schema, create_schema, lambda job: load_table(job, "t")):
            with pytest.raises(TargetError, match="view mine depends on view"):
                act(staged)
        assert query(staged.target, "SELECT count(*) FROM mine") == [(2,)]

    def test_a_view_that_fails_is_named(self, target_dsn: str, tmp_path: Path) -> None:
        good = job_for(target_dsn, tmp_path, described(TABLES, VIEWS))
        stage(good)
        for create, said in (
            ("CREATE VIEW w AS SELECT gone FROM t", 'View w cannot be created: column "gone" does not exist'),
            ("CREATE VIEW names2 AS SELECT 1 AS one", "create no w in"),
        ):
            bad = job_for(target_dsn, tmp_path, described(TABLES, {**VIEWS, "w": create}))
            with pytest.raises(TargetError, match=said):
                finish_schema(bad)

    def test_parallel_loads_do_not_wait_for_each_other(self, staged: Job) -> None:
        with psycopg.connect(staged.target) as slow:  # a load of t that takes long, and has dropped the views before
            load_table(staged, "t")
            slow.execute(sql.SQL("LOCK TABLE {}.t IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(staged.staging)))
            loaded = threading.Thread(target=load_table, args=(staged, "c"))
            loaded.start()
            loaded.join(8)
            assert not loaded.is_alive()


class TestGate:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("DROP VIEW staging.counted", "view counted: not in staging_shop_.* as finish_schema made it"),
            ("CREATE OR REPLACE VIEW staging.names AS SELECT id, upper(v) AS name FROM staging.t", "view names: changed"),
            ("ALTER VIEW staging.names SET (security_barrier)", "view names: changed after finish_schema"),
            ("DROP VIEW staging.counted; CREATE VIEW staging.counted AS SELECT 1 AS a", "view counted: not in"),
        ],
    )  # fmt: skip
    def test_forbids_a_view_that_is_missing_or_changed(self, staged: Job, change: str, words: str) -> None:
        query(staged.target, change.replace("staging.", f"{staged.staging}."))
        with pytest.raises(CutOverRefused, match=words):
            cut_over(staged, source_unchanged=unchanged)
        assert views_of(staged, "public") == {}

    def test_forbids_a_view_whose_plan_was_changed(self, staged: Job, tmp_path: Path) -> None:
        changed = {**VIEWS, "counted": VIEWS["counted"].replace("count(*)", "count(*) + 1")}
        del changed[ODD]
        job = job_for(staged.target, tmp_path, described(TABLES, changed))
        assert gated(job) == [
            f"view {ODD} is staged, but not in the plan any more: clear the finish_schema task",
            "view counted: its part of the plan was changed after finish_schema: clear the finish_schema task",
        ]
        finish_schema(job)
        for table in TABLES:
            verify_table(job, table)
        assert gated(job) == []


class TestCutOver:
    def test_moves_them_and_a_rollback_takes_them_back(self, staged: Job) -> None:
        oids = views_of(staged, staged.staging)
        cut_over(staged, source_unchanged=unchanged)
        assert views_of(staged, "public") == oids
        assert query(staged.target, 'SELECT * FROM "odd ""%s"" view"') == [("x", "100%"), ("y", "100%")]
        assert cut_over(staged, source_unchanged=unchanged)["tables"] == 2
        assert rollback(staged)["status"] == "rolled_back"
        assert views_of(staged, "public") == {}
        assert views_of(staged, staged.staging) == oids

    def test_retires_those_of_the_run_before_and_a_rollback_restores_them(
        self, staged: Job, tmp_path: Path, plan: Plan, role: str
    ) -> None:
        cut_over(staged, source_unchanged=unchanged)
        first = views_of(staged, "public")
        query(staged.target, f"GRANT SELECT ON names, {ODD_NAME} TO \"{role}\"; COMMENT ON VIEW names IS 'who'")
        second = stage(job_for(staged.target, tmp_path, plan, "run 2"))
        cut_over(second, source_unchanged=unchanged)
        assert views_of(second, second.retired) == first
        assert views_of(second, "public").keys() == first.keys()
        granted = "SELECT has_table_privilege(%s, %s, 'SELECT'), obj_description('public.names'::regclass)"
        assert query(second.target, granted, role, f"public.{ODD_NAME}") == [(True, "who")]
        assert query(second.target, "SELECT count(*) FROM names") == [(2,)]
        query(second.target, "INSERT INTO t VALUES (3, 'z')")
        assert query(second.target, "SELECT count(*) FROM names") == [(3,)]
        assert ask(second, "SELECT count(*) FROM retired.names") == [(2,)]
        with pytest.raises(CutOverRefused, match="retired by the cut-over of run run 2"):
            rollback(staged)
        rollback(second, confirm_lost_writes=True)
        assert views_of(second, "public") == first
        assert second.retired not in schemas(second.target)
        rollback(staged)
        assert views_of(staged, "public") == {}

    def test_a_view_of_somebody_else_on_live_tables_or_views_is_refused_by_name(
        self, staged: Job, tmp_path: Path, plan: Plan
    ) -> None:
        cut_over(staged, source_unchanged=unchanged)
        query(staged.target, "CREATE VIEW theirs AS SELECT * FROM names; CREATE VIEW more AS SELECT * FROM c")
        second = job_for(staged.target, tmp_path, plan, "run 2")
        with pytest.raises(TargetError, match="depend on the live tables and would go .*view more, view theirs"):
            preflight(second)
        with pytest.raises(CutOverRefused, match="would follow them out of public: view more, view theirs"):
            rollback(staged)

    def test_the_run_s_own_views_are_no_obstacle(self, staged: Job, tmp_path: Path, plan: Plan) -> None:
        cut_over(staged, source_unchanged=unchanged)
        with admin(staged.target) as connection:
            assert blockers(connection, job_for(staged.target, tmp_path, plan, "run 2")) == []

    def test_a_view_of_a_planned_name_that_no_run_made_is_refused(
        self, target_dsn: str, tmp_path: Path, plan: Plan
    ) -> None:
        query(target_dsn, "CREATE VIEW names AS SELECT 1 AS one; CREATE TABLE counted ()")
        with pytest.raises(TargetError) as found:
            preflight(job_for(target_dsn, tmp_path, plan))
        assert "public.names is a view that no run has put there" in str(found.value)
        assert "public.counted is a table, not a view" in str(found.value)

    def test_a_view_that_appears_after_preflight_stops_it(self, staged: Job) -> None:
        query(staged.target, "CREATE VIEW names AS SELECT 1 AS one")
        with pytest.raises(CutOverRefused, match="names did not exist, and is a view now"):
            cut_over(staged, source_unchanged=unchanged)

    def test_a_live_view_that_changed_since_preflight_stops_it(self, staged: Job, tmp_path: Path, plan: Plan) -> None:
        cut_over(staged, source_unchanged=unchanged)
        second = stage(job_for(staged.target, tmp_path, plan, "run 2"))
        query(staged.target, "CREATE OR REPLACE VIEW names AS SELECT id, upper(v) AS name FROM t")
        with pytest.raises(CutOverRefused, match="names is another view now"):
            cut_over(second, source_unchanged=unchanged)
        with admin(staged.target) as connection:
            now = facts(connection, second)
        assert changes(now, now) == []

    def test_a_view_changed_in_the_last_moment_changes_nothing(
        self, staged: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = moving.Move

        def late(source: str, *others: Any) -> Any:
            if source == staged.staging:
                query(staged.target, f"DROP VIEW {staged.staging}.counted")
            return real(source, *others)

        monkeypatch.setattr("migration.postgres.cutover.Move", late)
        with pytest.raises(Exception, match="counted"):
            cut_over(staged, source_unchanged=unchanged)
        assert views_of(staged, "public") == {}
        assert run_of(staged)["status"] == "running"

    def test_a_dropped_live_view_does_not_hinder_the_rollback(self, staged: Job) -> None:
        cut_over(staged, source_unchanged=unchanged)
        query(staged.target, "DROP VIEW counted")
        rollback(staged)
        assert views_of(staged, staged.staging).keys() == {"names", ODD}

    def test_set_aside_by_a_rollback_they_go_with_the_next_run_unless_they_were_changed(
        self, staged: Job, tmp_path: Path, plan: Plan
    ) -> None:
        cut_over(staged, source_unchanged=unchanged)
        rollback(staged)
        second = job_for(staged.target, tmp_path, plan, "run 2")
        stage(second)
        assert staged.staging not in schemas(staged.target)
        cut_over(second, source_unchanged=unchanged)
        query(staged.target, "CREATE OR REPLACE VIEW names AS SELECT id, 'mine' AS name FROM t")
        rollback(second)
        preflight(job_for(staged.target, tmp_path, plan, "run 3"))
        assert ask(second, "SELECT DISTINCT name FROM staging.names") == [("mine",)]

    def test_waits_for_who_reads_a_view_and_says_who(self, staged: Job, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
        cut_over(staged, source_unchanged=unchanged)
        second = stage(job_for(staged.target, tmp_path, plan, "run 2"))
        monkeypatch.setattr(moving, "SECONDS", 0.3)
        monkeypatch.setattr(moving, "PAUSE", 0.1)
        with psycopg.connect(staged.target, application_name="reader") as reader:
            reader.execute("SELECT FROM counted")
            with pytest.raises(TransientError, match=r"reader \(pid"):
                cut_over(second, source_unchanged=unchanged)
        cut_over(second, source_unchanged=unchanged)

    def test_reading_views_meanwhile_never_fails(self, staged: Job, tmp_path: Path, plan: Plan) -> None:
        cut_over(staged, source_unchanged=unchanged)
        second = stage(job_for(staged.target, tmp_path, plan, "run 2"))
        stop, errors, reads = threading.Event(), list[BaseException](), [0]

        def read() -> None:
            try:
                with psycopg.connect(staged.target, autocommit=True) as connection:
                    while not stop.is_set():
                        for name in ("counted", ODD_NAME, "names", "t"):
                            connection.execute(f"SELECT count(*) FROM {name}".encode())
                            reads[0] += 1
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        cut_over(second, source_unchanged=unchanged)
        rollback(second)
        stop.set()
        for reader in readers:
            reader.join()
        assert errors == []
        assert reads[0] > 0


def test_the_owner_of_a_live_view_owns_the_new_one(
    superuser: str, staged: Job, tmp_path: Path, plan: Plan, role: str
) -> None:
    cut_over(staged, source_unchanged=unchanged)
    with admin(superuser) as connection:
        connection.execute(f'GRANT "{role}" TO migrator; GRANT CREATE, USAGE ON SCHEMA public TO "{role}"'.encode())
        connection.execute(f'ALTER VIEW names OWNER TO "{role}"; GRANT SELECT ON t TO "{role}"'.encode())
    second = stage(job_for(staged.target, tmp_path, plan, "run 2"))
    cut_over(second, source_unchanged=unchanged)
    assert query(staged.target, "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'public.names'::regclass") == [(role,)]  # fmt: skip
    assert query(staged.target, "SELECT count(*) FROM names") == [(2,)]
