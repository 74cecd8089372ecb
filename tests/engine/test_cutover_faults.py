"""A cut-over or rollback that is killed, blocked or raced either happened as a whole or not at all."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql

from migration.errors import CutOverRefused, MigrationError, TransientError
from migration.job import Job
from migration.postgres import cutover, live, moving
from migration.postgres.cutover import cut_over, rollback
from tests.engine.staged import ROWS, admin, dump, job_for, populate, query, run_of, schemas, stage, unchanged

# Ends the connection of a cut-over or rollback at its n-th step: before each DDL statement, when the run's
# row is written, and in the middle of the commit.
KILLER = """
    CREATE SCHEMA kill;
    CREATE SEQUENCE kill.seen;
    CREATE TABLE kill.at AS SELECT 0 AS n;
    CREATE FUNCTION kill.count() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      IF current_setting('application_name') ~ '^migration: (Cutting|Rolling)'
        AND nextval('kill.seen') = (SELECT n FROM kill.at)
      THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    END $$;
    CREATE FUNCTION kill.on_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
      AS 'BEGIN PERFORM kill.count(); END';
    CREATE FUNCTION kill.on_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
      AS 'BEGIN PERFORM kill.count(); RETURN NULL; END';
    CREATE EVENT TRIGGER kill_ddl ON ddl_command_start EXECUTE FUNCTION kill.on_ddl();
    CREATE TRIGGER kill_row AFTER UPDATE ON migration.runs FOR EACH ROW EXECUTE FUNCTION kill.on_row();
    CREATE CONSTRAINT TRIGGER kill_commit AFTER UPDATE ON migration.runs DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION kill.on_row();
"""


def position(job: Job) -> list[tuple[Any, ...]]:
    """Which object lies where and belongs to whom, and what the run is taken for."""
    relations = query(
        job.target,
        "SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.relowner::regrole::text, c.relacl::text"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' OR n.nspname ~ '^(staging|retired)_' ORDER BY 1, 2",
    )
    return [*relations, *query(job.target, "SELECT run_id, status, live_after::text FROM migration.runs")]


def survive(job: Job, superuser: str, act: Callable[[], object]) -> int:
    """Kill ``act`` at its first step, its second and so on until it passes; how often it was killed."""
    before = position(job)
    for n in count(1):
        query(superuser, "UPDATE kill.at SET n = %s", n)
        query(superuser, "ALTER SEQUENCE kill.seen RESTART")
        try:
            act()
        except TransientError:
            assert position(job) == before
        else:
            return n - 1
    raise AssertionError


@pytest.fixture
def ready(job: Job) -> Job:
    """Staged beside live tables that hold rows."""
    populate(job.target)
    stage(job)
    return job


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "SECONDS", 0.4)
    monkeypatch.setattr(moving, "PAUSE", 0.1)


class TestKilled:
    def test_at_every_statement_leaves_the_former_state_and_the_next_attempt_succeeds(
        self, job: Job, role: str, superuser: str
    ) -> None:
        populate(job.target, role)
        before = dump(job.target)
        stage(job)
        query(superuser, KILLER)
        assert survive(job, superuser, lambda: cut_over(job, source_unchanged=unchanged)) > 30
        assert schemas(job.target) == {job.retired}
        assert query(job.target, "SELECT count(*) FROM customers") == [(3,)]
        assert survive(job, superuser, lambda: rollback(job)) > 5
        assert schemas(job.target) == {job.staging}
        assert dump(job.target) == before

    def test_after_the_commit_before_the_answer_is_recognised_by_the_next_attempt(
        self, ready: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*_: object) -> None:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        with monkeypatch.context() as patched:
            patched.setattr(cutover, "_result", lost)
            with pytest.raises(TransientError):
                cut_over(ready, source_unchanged=unchanged)
        after = position(ready)
        assert run_of(ready)["status"] == "cut_over"
        assert cut_over(ready, source_unchanged=unchanged)["retired_tables"] == 3
        assert position(ready) == after


@contextmanager
def transaction(job: Job, *statements: str) -> Iterator[None]:
    """Somebody's open transaction that has executed ``statements``, rolled back at the end."""
    with psycopg.connect(job.target, application_name="shop worker") as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield
        connection.rollback()


@pytest.mark.usefixtures("hasty")
class TestLocked:
    @pytest.mark.parametrize(
        ("statement", "lock"),
        [
            ("UPDATE orders SET total = 0", "RowExclusiveLock on orders"),
            ("SELECT FROM customers", "AccessShareLock on customers"),
            ("SELECT nextval('orders_id_seq')", "RowExclusiveLock on orders_id_seq"),
            ("LOCK TABLE orders", "AccessExclusiveLock on orders"),
            ("LOCK TABLE orders IN SHARE MODE", "ShareLock on orders"),
        ],
    )
    def test_gives_up_cleanly_names_who_holds_the_lock_and_succeeds_later(
        self, ready: Job, statement: str, lock: str
    ) -> None:
        before = position(ready)
        with transaction(ready, statement), pytest.raises(TransientError) as raised:
            cut_over(ready, source_unchanged=unchanged)
        text = str(raised.value)
        assert "Nothing was changed" in text
        assert "shop worker (pid " in text
        assert "idle in transaction" in text
        assert lock in text
        assert position(ready) == before
        cut_over(ready, source_unchanged=unchanged)
        assert run_of(ready)["status"] == "cut_over"

    def test_a_transaction_that_has_read_may_go_on_to_write(self, ready: Job) -> None:
        """Were the cut-over to hold any lock while it waits, this would be a deadlock."""
        with psycopg.connect(ready.target) as connection:
            connection.execute("SELECT FROM orders")
            result: list[object] = []
            thread = threading.Thread(target=lambda: result.append(self.attempt(ready)))
            thread.start()
            time.sleep(0.3)
            connection.execute("UPDATE orders SET total = 0")
            thread.join()
            connection.rollback()
        assert isinstance(result[0], TransientError)
        cut_over(ready, source_unchanged=unchanged)

    def attempt(self, job: Job) -> object:
        try:
            return cut_over(job, source_unchanged=unchanged)
        except MigrationError as error:
            return error

    @pytest.mark.parametrize("level", ["read committed", "serializable"])
    def test_a_row_written_while_it_waits_stops_it(self, ready: Job, superuser: str, level: str) -> None:
        with admin(superuser) as connection:
            statement = "ALTER DATABASE {} SET default_transaction_isolation = {}"
            database = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL(statement).format(database, sql.Literal(level)))
        with psycopg.connect(ready.target) as connection:
            connection.execute("INSERT INTO orders (customer_id) VALUES (1)")
            result: list[object] = []
            thread = threading.Thread(target=lambda: result.append(self.attempt(ready)))
            thread.start()
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
            while thread.is_alive() and not query(superuser, waiting):
                time.sleep(0.01)
            connection.commit()
            thread.join()
        assert isinstance(result[0], CutOverRefused)
        assert "orders was changed in the last moment" in str(result[0])
        assert schemas(ready.target) == {ready.staging}
        with pytest.raises(CutOverRefused, match="orders held 2 rows and holds 3 now"):
            cut_over(ready, source_unchanged=unchanged)

    def test_a_view_made_while_it_waits_stops_it(self, ready: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        real = live.clashes

        def late(*args: Any) -> list[str]:
            query(ready.target, "CREATE VIEW seen AS SELECT id FROM orders")
            return real(*args)

        monkeypatch.setattr(live, "clashes", late)
        with pytest.raises(CutOverRefused, match="view seen"):
            cut_over(ready, source_unchanged=unchanged)
        assert schemas(ready.target) == {ready.staging}

    def test_a_rollback_gives_up_as_cleanly(self, ready: Job) -> None:
        cut_over(ready, source_unchanged=unchanged)
        before = position(ready)
        with transaction(ready, "SELECT FROM orders"), pytest.raises(TransientError, match="shop worker"):
            rollback(ready)
        assert position(ready) == before
        rollback(ready)

    def test_a_lock_that_ends_between_two_tries_delays_it_only(self, ready: Job) -> None:
        holding = threading.Event()

        def hold() -> None:
            with transaction(ready, "SELECT FROM orders"):
                holding.set()
                time.sleep(0.6)

        thread = threading.Thread(target=hold)
        thread.start()
        assert holding.wait(10)
        cut_over(ready, source_unchanged=unchanged)
        thread.join()
        assert run_of(ready)["status"] == "cut_over"

    def test_readers_never_wait_longer_than_the_limit_and_see_the_old_or_the_new_rows(self, ready: Job) -> None:
        waits: list[float] = []
        seen: set[int] = set()
        stop = threading.Event()

        def read() -> None:
            with psycopg.connect(ready.target, autocommit=True, prepare_threshold=1) as connection:
                while not stop.is_set():
                    started = time.monotonic()
                    seen.add(connection.execute("SELECT count(*) FROM customers").fetchall()[0][0])
                    waits.append(time.monotonic() - started)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()
        try:
            with transaction(ready, "SELECT FROM orders"), pytest.raises(TransientError):
                cut_over(ready, source_unchanged=unchanged)
            assert seen == {2}
            cut_over(ready, source_unchanged=unchanged)
            time.sleep(0.2)
        finally:
            stop.set()
            for thread in readers:
                thread.join()
        assert seen == {2, 3}
        assert len(waits) > 50
        assert max(waits) < moving.SECONDS + 0.5

    def test_writers_wait_and_write_to_the_new_tables(self, ready: Job) -> None:
        stop = threading.Event()
        written: list[str] = []

        def write() -> None:
            with psycopg.connect(ready.target, autocommit=True) as connection:
                connection.execute("CREATE TEMP TABLE mine ()")
                while not stop.is_set():
                    email = f"w{len(written)}"
                    connection.execute("UPDATE customers SET email = %s WHERE id = 7", [email])
                    written.append(email)

        thread = threading.Thread(target=write)  # there is no such row in the old table: nothing changes there
        thread.start()
        try:
            cut_over(ready, source_unchanged=unchanged)
            time.sleep(0.2)
        finally:
            stop.set()
            thread.join()
        assert query(ready.target, "SELECT email FROM customers WHERE id = 7") == [(written[-1],)]
        with pytest.raises(CutOverRefused, match="customers: 1 rows inserted or changed, 1 of the 3 migrated"):
            rollback(ready)


class TestRaced:
    def together(self, *acts: Callable[[], object]) -> list[object]:
        """Call all at once; their results or the errors they raised."""
        results: list[object] = [None] * len(acts)
        start = threading.Barrier(len(acts))

        def run(index: int) -> None:
            start.wait()
            try:
                results[index] = acts[index]()
            except MigrationError as error:
                results[index] = error

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(acts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def test_two_attempts_of_one_run_cut_over_once(self, ready: Job) -> None:
        def act() -> object:
            return cut_over(ready, source_unchanged=unchanged)

        results = self.together(act, act)
        assert all(not isinstance(r, CutOverRefused) for r in results), results
        assert results[0] == results[1]
        assert schemas(ready.target) == {ready.retired}
        assert run_of(ready)["status"] == "cut_over"

    def test_two_runs_into_one_schema_cut_over_one_after_the_other_or_not_at_all(self, ready: Job) -> None:
        other = job_for(ready.target, "run 2")
        stage(other, {"clients": [(1, "z")]})
        results = self.together(
            lambda: cut_over(ready, source_unchanged=unchanged),
            lambda: cut_over(other, source_unchanged=unchanged),
        )
        refused = [r for r in results if isinstance(r, CutOverRefused)]
        assert len(refused) == 1
        assert "changed after preflight" in str(refused[0])
        rows = query(ready.target, "SELECT count(*) FROM customers")
        assert rows == [(3,)] if results[1] in refused else [(1,)]

    def test_cut_over_and_rollback_of_one_run_leave_one_of_both_states(self, ready: Job) -> None:
        before = dump(ready.target)
        results = self.together(lambda: cut_over(ready, source_unchanged=unchanged), lambda: rollback(ready))
        status = run_of(ready)["status"]
        assert status in ("cut_over", "rolled_back")
        if status == "rolled_back":
            assert dump(ready.target) == before
        else:
            assert not isinstance(results[0], MigrationError)
            with admin(ready.target) as connection:
                assert connection.execute("SELECT count(*) FROM customers").fetchall() == [(len(ROWS["clients"]),)]
