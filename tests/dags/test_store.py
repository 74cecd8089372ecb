"""Workers without a common disk: the snapshot reaches each through the store, whole and checked, or the task says why."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from fsspec.implementations.local import LocalFileSystem

from glue import bridge
from glue import store as snapshots
from migration import plan as plans
from migration import steps
from migration.errors import MigrationError, SourceError, TransientError
from migration.job import Job
from migration.plan import plan_path, read_plan
from migration.postgres import state
from migration.sqlite import copies
from migration.sqlite.snapshot import read_manifest, restore
from tests.dags.stage import REAL, Stage, target_connection
from tests.engine.support import Raw, ask, connection_to, database, dump, in_a_process, insert, kill_itself

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = database(tmp_path / "notes.db", "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    insert(path, "note", [(n, f"note {n} " + "." * 80) for n in range(1, 501)])
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that all workers share."""
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv("MIGRATION_SNAPSHOT_STORE", f"file://{folder}")
    return folder


def write_plan(source: Path, invalid: str = "stop") -> None:
    columns: dict[str, Any] = {"id": {"type": "bigint", "identity": True}, "body": {"type": "text", "invalid": invalid}}
    table = {"columns": columns, "primary_key": {"name": "note_pkey", "columns": ["id"]}}
    plan = {"name": "notes", "title": "Notes", "source": str(source), "target": "notes_target"}
    (plans.PLANS / "notes.yaml").write_text(yaml.safe_dump(plan | {"tables": {"note": table}}, sort_keys=False))


@pytest.fixture
def plan(airflow_database: None, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "PLANS", tmp_path / "plans")
    plans.PLANS.mkdir()
    write_plan(source)


@pytest.fixture
def stage(
    plan: None, source: Path, store: Path, tmp_path: Path, target_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """The DAGs, every task of which runs on a worker of its own: no two have a disk in common."""
    workers = count()
    monkeypatch.setattr(bridge, "_home", lambda: tmp_path / f"worker {next(workers)}")
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_TARGET", target_connection(target_dsn))
    return Stage(source, target_dsn, dict(DagBag(ROOT / "dags").dags))


def homes(tmp_path: Path, name: str) -> list[Path]:
    return [p.parent for p in tmp_path.glob(f"worker */snapshots/*/{name}")]


class TestWholeRuns:
    def test_every_task_on_another_worker_ends_in_a_cut_over(self, stage: Stage, store: Path, tmp_path: Path) -> None:
        assert stage.run("migrate_notes", **REAL)[""] == "success"
        assert stage.query("SELECT count(*) FROM public.note") == [(500,)]
        [stored] = store.iterdir()
        assert sorted(p.name for p in stored.iterdir()) == [
            "manifest.json",
            "report.html",
            "report.json",
            "snapshot.db",
        ]
        assert len(homes(tmp_path, "manifest.json")) == 4  # backup, load, verify, cut_over
        assert len(homes(tmp_path, "received")) == 3
        restore(stored / "manifest.json", tmp_path / "restored.db")
        assert dump(tmp_path / "restored.db") == dump(stage.source)
        assert stage.run("rollback_notes", approval="given")[""] == "success"

    def test_a_source_written_to_since_is_seen_by_a_worker_that_did_not_take_the_snapshot(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        verify = steps.verify

        def written_to_meanwhile(job: Job, table: str) -> dict[str, Any]:
            stage.change_source("INSERT INTO note VALUES (501, 'late')")
            return verify(job, table)

        monkeypatch.setattr(steps, "verify", written_to_meanwhile)
        states = stage.run("migrate_notes", **REAL)
        assert (states["verify.note"], states["cut_over"], states[""]) == ("success", "failed", "failed")
        message = stage.query("SELECT message FROM migration.steps WHERE step = 'cut_over'")[0][0]
        assert "note had 500 rows and has 501" in message

    def test_without_a_store_the_next_worker_names_what_it_lacks(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MIGRATION_SNAPSHOT_STORE")
        states = stage.run("migrate_notes")
        assert (states["backup"], states["load.note"], states[""]) == ("success", "failed", "failed")
        message = stage.query("SELECT message FROM migration.steps WHERE step = 'load'")[0][0]
        assert "taken by a worker that shares neither this disk nor a snapshot store with this one" in message

    def test_a_failed_migration_leaves_its_report_in_the_store(self, stage: Stage, store: Path) -> None:
        insert(stage.source, "note", [(1000, Raw(b"a\0b"))])
        assert stage.run("migrate_notes")["report"] == "failed"
        [report] = store.glob("*/report.html")
        assert "1000" in report.read_text()

    def test_the_report_of_an_assessment_is_in_the_store_and_the_next_one_replaces_it(
        self, stage: Stage, store: Path
    ) -> None:
        for rows in (501, 502):
            stage.change_source(f"INSERT INTO note VALUES ({rows}, 'late')")
            assert stage.run("assess_sqlite", source=str(stage.source), replace=True)[""] == "success"
            assert sorted(p.name for p in store.glob("assessment_notes/*")) == ["report.html", "report.json"]
            assert f'"rows": {rows}' in (store / "assessment_notes/report.json").read_text()

    def test_a_quarantine_is_replayed_by_workers_that_never_saw_the_run(self, stage: Stage) -> None:
        insert(stage.source, "note", [(1000, Raw(b"a\0b"))])
        write_plan(stage.source, "quarantine")
        assert stage.run("migrate_notes")[""] == "success"
        write_plan(stage.source, "strip")
        assert stage.run("replay_notes")[""] == "success"
        assert stage.query("SELECT loaded, quarantined FROM migration.loads") == [(501, 0)]

    def test_a_rollback_needs_no_store(self, stage: Stage, store: Path) -> None:
        assert stage.run("migrate_notes", **REAL)[""] == "success"
        shutil.rmtree(store)
        assert stage.run("rollback_notes", approval="given")[""] == "success"
        assert stage.query("SELECT to_regclass('public.note')") == [(None,)]


@pytest.fixture
def one(plan: None, source: Path, store: Path, tmp_path: Path, target_dsn: str) -> Job:
    """The job of a run on the worker one, past its preflight."""
    job = Job(read_plan(plan_path("notes")), "manual__1", target_dsn, source, tmp_path / "one", fetch=snapshots.fetch)
    steps.preflight(job)
    return job


def on(worker: str, job: Job) -> Job:
    """The same job on another worker."""
    return replace(job, home=job.home.with_name(worker))


@pytest.fixture
def stored(one: Job, store: Path) -> Path:
    """The snapshot in the store, after the backup by worker one; staging is there too."""
    bridge._back_up(one)
    steps.create_schema(one)
    return store / one.folder.name / "snapshot.db"


class TestFetching:
    @pytest.mark.parametrize("fault", ["truncated", "one byte"])
    def test_what_the_store_spoiled_is_named_and_nothing_is_loaded(self, fault: str, one: Job, stored: Path) -> None:
        whole = bytearray(stored.read_bytes())
        stored.unlink()
        if fault == "truncated":
            del whole[-4096:]
        else:
            whole[9000] ^= 1
        stored.write_bytes(whole)
        with pytest.raises(SourceError, match=f"snapshot.db is not the snapshot that was taken: {len(whole)} bytes"):
            steps.load(on("two", one), "note")
        assert [p.name for p in on("two", one).folder.iterdir()] == ["lock"]
        assert ask(one, "SELECT count(*) FROM migration.loads") == [(0,)]
        assert ask(one, "SELECT status FROM migration.steps WHERE step = 'load'") == [("failed",)]
        assert steps.load(one, "note")["loaded"] == 500  # the worker that took it needs no store

    def test_a_removed_snapshot_is_named(self, one: Job, stored: Path) -> None:
        stored.unlink()
        with pytest.raises(SourceError, match=r"The snapshot store has no file://.*/snapshot.db. .* start a new run"):
            steps.load(on("two", one), "note")

    def test_a_store_that_is_not_there_is_worth_another_try(self, one: Job, stored: Path, store: Path) -> None:
        store.rename(store.with_name("unmounted"))
        with pytest.raises(TransientError, match="does not exist on this worker. Create its folder or mount it"):
            steps.load(on("two", one), "note")
        assert not store.exists()
        store.with_name("unmounted").rename(store)
        assert steps.load(on("two", one), "note")["loaded"] == 500
        steps.finish_schema(one)
        store.rename(store.with_name("unmounted"))
        assert steps.verify(on("two", one), "note")["rows"] == 500  # what was fetched needs no store any more

    @pytest.mark.parametrize("error", [ConnectionResetError("by peer"), RuntimeError("503 Slow Down")])
    def test_a_store_that_breaks_off_is_worth_another_try(
        self, error: Exception, one: Job, stored: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Breaking(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if block := super().read(size):
                    return block
                raise error

        with monkeypatch.context() as patch:
            patch.setattr(LocalFileSystem, "open", lambda *_: Breaking(stored.read_bytes()[:8192]))
            with pytest.raises(
                TransientError, match=f"did not give .*snapshot.db .*{error}.. Make sure that this worker"
            ):
                steps.load(on("two", one), "note")
        assert [p.name for p in on("two", one).folder.iterdir()] == ["lock"]
        assert steps.load(on("two", one), "note")["loaded"] == 500

    def test_two_tasks_at_once_on_one_worker_fetch_it_once(self, one: Job, stored: Path, tmp_path: Path) -> None:
        log = tmp_path / "fetched.log"
        two = on("two", one)

        def both() -> int:
            other = os.fork()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(snapshots, "BLOCK", 4096)
                read = snapshots._Store._read

                def counted(self: snapshots._Store, name: str) -> Iterator[bytes]:
                    with log.open("a") as file:
                        file.write(f"{name}\n")
                    for block in read(self, name):
                        signal.sigtimedwait([], 0.02)
                        yield block

                patch.setattr(snapshots._Store, "_read", counted)
                snapshots.fetch(two)
            if not other:
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])

        assert in_a_process(both) == 0
        assert log.read_text() == f"{one.folder.name}/snapshot.db\n"
        assert (two.folder / "snapshot.db").read_bytes() == stored.read_bytes()

    def test_a_full_disk_is_worth_another_try(self, one: Job, stored: Path) -> None:
        """A limit on the size of files stands in for the full disk."""
        two = on("two", one)

        def attempt() -> int:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with pytest.raises(TransientError, match="cannot be written to .*two.*Free or grant space there"):
                snapshots.fetch(two)
            return 7

        assert in_a_process(attempt) == 7
        assert steps.load(two, "note")["loaded"] == 500

    def test_a_copy_changed_between_load_and_verification_hides_nothing(self, one: Job, stored: Path) -> None:
        two = on("two", one)
        steps.load(two, "note")
        steps.finish_schema(one)
        path = two.folder / "snapshot.db"
        path.chmod(0o640)
        database(path, "UPDATE note SET body = 'other' WHERE id = 7")
        assert steps.verify(two, "note")["rows"] == 500
        assert path.read_bytes() == stored.read_bytes()

    @pytest.mark.parametrize("status", ["superseded", "cut_over", "rolled_back"])
    def test_copies_of_ended_runs_go_when_the_next_is_fetched(self, status: str, one: Job, stored: Path) -> None:
        two = on("two", one)
        snapshots.fetch(two)
        later = replace(one, run_id="manual__2", home=one.home.with_name("three"))
        steps.preflight(later)
        bridge._back_up(later)
        with connection_to(one) as connection:
            state.update(connection, state.runs, {"status": status}, run_id=one.run_id)
        snapshots.fetch(on("two", later))
        assert copies.received(two.home) == [on("two", later).folder]
        assert not two.folder.exists()
        snapshots.fetch(on("one", later))
        assert (one.folder / "snapshot.db").exists()  # it was taken there

    @pytest.mark.parametrize("why", ["it goes on", "the store has it no more"])
    def test_a_copy_that_may_be_needed_stays(self, why: str, one: Job, stored: Path) -> None:
        two = on("two", one)
        snapshots.fetch(two)
        later = replace(one, run_id="manual__2", home=one.home.with_name("three"))
        steps.preflight(later)
        bridge._back_up(later)
        with connection_to(one) as connection:
            status = "rehearsed" if why == "it goes on" else "cut_over"
            state.update(connection, state.runs, {"status": status}, run_id=one.run_id)
        if status == "cut_over":
            shutil.rmtree(stored.parent)
        snapshots.fetch(on("two", later))
        assert set(copies.received(two.home)) == {two.folder, on("two", later).folder}


class TestStoring:
    def test_a_second_backup_anywhere_keeps_the_first(self, one: Job, stored: Path) -> None:
        before = stored.stat()
        database(one.source, "DELETE FROM note WHERE id = 1")
        first = bridge._back_up(one)
        second = bridge._back_up(on("two", one))
        assert second | {"path": ""} == first | {"path": ""}
        assert second["rows"] == 500
        assert (stored.stat().st_mtime_ns, stored.stat().st_ino) == (before.st_mtime_ns, before.st_ino)

    def test_a_killed_upload_is_no_snapshot_and_the_next_backup_clears_it_away(
        self, one: Job, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed() -> None:
            def half(source: Any, target: Any, _: int) -> None:
                target.write(source.read(4096))
                target.flush()
                kill_itself()

            monkeypatch.setattr(shutil, "copyfileobj", half)
            bridge._back_up(one)

        assert in_a_process(killed) == -signal.SIGKILL
        [left] = (store / one.folder.name).iterdir()
        assert left.name.endswith(".part")
        two, three = on("two", one), on("three", one)
        with pytest.raises(SourceError, match="The snapshot store has no "):
            snapshots.fetch(two)
        database(one.source, "DELETE FROM note WHERE id = 1")
        assert bridge._back_up(two)["rows"] == 499
        assert sorted(p.name for p in left.parent.iterdir()) == ["manifest.json", "snapshot.db"]
        steps.create_schema(three)
        assert steps.load(three, "note")["loaded"] == 499
        steps.finish_schema(three)
        # The first worker's own snapshot was never stored: it gives way to the run's.
        assert steps.verify(one, "note")["rows"] == 499
        assert bridge._back_up(one)["rows"] == 499

    def test_of_two_attempts_that_both_took_one_the_later_takes_what_was_stored(self, one: Job, store: Path) -> None:
        two = on("two", one)
        steps.backup(one)
        database(one.source, "DELETE FROM note WHERE id = 1")
        bridge._back_up(two)
        with pytest.raises(TransientError, match="has got another snapshot of .* Clear this task, which then takes"):
            snapshots.keep_snapshot(one)
        assert bridge._back_up(one)["rows"] == 499

    def test_a_store_that_keeps_less_than_it_was_given_gets_no_manifest(
        self, one: Job, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(LocalFileSystem, "size", lambda self, path: 4096)
            with pytest.raises(TransientError, match="did not take .*snapshot.db .*it kept 4096 of "):
                bridge._back_up(one)
        assert list((store / one.folder.name).iterdir()) == []
        bridge._back_up(one)

    @pytest.mark.parametrize("fault", ["truncated", "gone", "half a manifest", "no manifest"])
    def test_what_is_incomplete_in_the_store_is_stored_anew(self, fault: str, one: Job, stored: Path) -> None:
        manifest = stored.with_name("manifest.json")
        match fault:
            case "truncated":
                os.truncate(stored, 4096)
            case "gone":
                stored.unlink()
            case "half a manifest":
                manifest.write_bytes(manifest.read_bytes()[:40])
            case "no manifest":
                manifest.unlink()
        bridge._back_up(one)
        assert stored.read_bytes() == (one.folder / "snapshot.db").read_bytes()
        assert read_manifest(manifest) == read_manifest(one.folder / "manifest.json")

    def test_a_full_store_is_worth_another_try(self, one: Job, store: Path) -> None:
        steps.backup(one)

        def attempt() -> int:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with pytest.raises(TransientError, match="did not take .*snapshot.db .*File too large"):
                snapshots.keep_snapshot(one)
            return 7

        assert in_a_process(attempt) == 7
        assert list((store / one.folder.name).iterdir()) == []
        snapshots.keep_snapshot(one)

    def test_a_store_that_is_not_mounted_does_not_become_a_folder_of_the_worker(self, one: Job, store: Path) -> None:
        store.rmdir()
        with pytest.raises(TransientError, match="does not exist on this worker"):
            bridge._back_up(one)
        assert not store.exists()

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("gopher://hole/prefix", "gopher"),
            ("file://relative/folder", "absolute"),
            ("relative/folder", "absolute"),
        ],
    )
    def test_a_url_that_cannot_be_is_refused_in_a_sentence(
        self, url: str, words: str, one: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MIGRATION_SNAPSHOT_STORE", url)
        with pytest.raises(MigrationError, match="Correct MIGRATION_SNAPSHOT_STORE") as raised:
            bridge._back_up(one)
        assert words in str(raised.value)
        assert not isinstance(raised.value, TransientError)
