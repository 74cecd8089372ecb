"""./run, ./test and ./bench, once the virtual environment is there."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from local import arguments, sessions
from local.airflow import USER, Airflow
from local.api import quoted
from local.arguments import Options
from local.choosing import UNDECIDED, WIDGETTDC, Work, assessed, choose, confirmed, goes_on, is_written, read, tables_of
from local.files import LOCAL, ROOT, LocalError, Secrets, locked, require_folder, told_in_one_sentence
from local.postgres import PROGRAMS, Cluster, local_cluster
from local.progress import Progress, Task
from local.target import embedded_target, own_target

BUSY = LOCAL / "run.lock"
TOLD = 24
"""So many lines of a failed task's log are shown; a task of several tables has more than one message there."""
MOST_PROCESSES = 4
"""Each runs tests with a PostgreSQL server of its own."""
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(tool: str, argv: list[str]) -> int:
    if tool == "test":
        return test(argv)
    if tool == "bench":
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *argv])
    options = arguments.parse(argv)
    return {"assess": assess, "psql": psql, "stop": stop, "migrate": migrate}[options.command](options)


# -- ./test


def test(argv: list[str]) -> int:
    """Every check, also after one has failed; with arguments pytest alone."""
    os.chdir(ROOT)
    if argv:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *argv])
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    tests = ["pytest", f"--numprocesses={processes}", "--dist=loadfile"]
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], tests)
    failed = []
    for check in checks:
        began = time.monotonic()
        print(f"== {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check]).returncode != 0:
            failed.append(" ".join(check))
        print(f"== {time.monotonic() - began:.1f} s\n", flush=True)
    print(f"Failed: {', '.join(failed)}." if failed else "All checks passed.")
    return 1 if failed else 0


# -- ./run assess, ./run psql, ./run stop


def assess(options: Options) -> int:
    assert options.source is not None
    tables_of(options.source)  # says at once why it is no database
    name = choose(options.source, set(), name=options.name)  # a plan of its own, whatever its tables
    assessed(options.source, name, embedded_target(started_cluster(), KEYS, name), replace=options.replace)
    return 0


def psql(options: Options) -> int:
    cluster = started_cluster()
    target = embedded_target(cluster, KEYS, WIDGETTDC)
    login = {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        "PGDATABASE": target.database,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    os.execve(PROGRAMS / "bin" / "psql", ["psql", *options.rest], inherited | login)


def stop(_: Options) -> int:
    holder = busy_process()
    if holder:
        os.kill(holder, signal.SIGTERM)
    with alone(wait=True):  # until that process has stopped its Airflow
        sessions.end_recorded(patience=3)
        stopped = local_cluster().stop()
    print("Stopped." if stopped or holder else "Nothing was running.")
    return 0


# -- ./run


def migrate(options: Options) -> int:
    for request in ENDINGS:
        signal.signal(request, _interrupt)
    with alone():
        own = own_target(options.target) if options.target else None
        source = options.source or source_of(options.plan)
        name = choose(source, tables_of(source), plan=options.plan, name=options.name)
        cluster = local_cluster()
        was_running = cluster.process() is not None
        cluster.start()
        target = own or embedded_target(cluster, KEYS, name)
        if not is_written(name):
            found = assessed(source, name, target)
            if not (options.ui or goes_on(found, accept=options.accept)):
                return UNDECIDED
        elif not (options.ui or options.accept or options.plan or confirmed(name)):
            return UNDECIDED
        work = Work(read(name), source, target)
        airflow = Airflow(cluster, KEYS, connections(work))
        print(f"Source  {source}\nPlan    {name}\nTarget  {target.shown}\nStarting Airflow …", flush=True)
        try:
            airflow.start(resume=options.ui)
            airflow.wait_for_dag(work.dag)
            return serve(airflow, work) if options.ui else migrate_once(airflow, options, work)
        finally:
            for request in ENDINGS:
                signal.signal(request, signal.SIG_IGN)  # a second Ctrl-C shall not leave half of it running
            airflow.stop()
            if own and not was_running:  # it held nothing but Airflow's own records
                cluster.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def serve(airflow: Airflow, work: Work) -> int:
    """Leave Airflow up until Ctrl-C, ./run stop, or one of its services ends."""
    print(
        f"\nAirflow is up: {airflow.address}\n  user      {USER}\n  password  {airflow.password}\n"
        f"Trigger {work.dag} there. Ctrl-C stops Airflow; the embedded PostgreSQL goes on until ./run stop.",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            airflow.check()
            time.sleep(1)
    print("Stopping Airflow …", flush=True)
    return 0


def migrate_once(airflow: Airflow, options: Options, work: Work) -> int:
    """Trigger the DAG, show it to its end, tell how it ended. 0 only if run and report say success."""
    run = f"run_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    conf = {
        "mode": "rehearsal" if options.rehearsal else "cut_over",
        "approval": "given",
        "quarantine": options.quarantine,
        "on_live_tables": options.on_live_tables,
    }
    airflow.api.post(f"/dags/{work.dag}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf})
    print(f"Run     {run}, {conf['mode'].replace('_', '-')}", flush=True)
    try:
        succeeded = watch(airflow, work.dag, run)
    except KeyboardInterrupt:
        airflow.fail_unfinished_runs()
        print(f"\nInterrupted: {run} is marked as failed. {how_to_continue(options)}", flush=True)
        raise
    told = "" if succeeded else tell_failures(airflow, work.dag, run)
    reported = report(airflow, work, run, quiet=not succeeded) == 0
    if not (succeeded and reported):
        print(f"\nThe migration failed. {how_to_continue(options, told)}")
        return 1
    if options.rehearsal:
        print("\nRehearsed: everything but the cut-over was done; the application's tables are as they were.")
        return 0
    print("\nFor the application's environment (contains the password):")
    print("\n".join(f"  {line}" for line in work.target.application_lines))
    if options.target is None:
        named = "" if work.plan.name == WIDGETTDC else f" -d {work.target.database}"
        print(
            f"\nThe embedded PostgreSQL stays up (its files: {airflow.cluster.home}).\n"
            f"./run psql{named} opens the database, ./run stop stops the server."
        )
    return 0


def watch(airflow: Airflow, dag: str, run: str) -> bool:
    """Show the run's progress until it has ended; whether it succeeded."""
    where = f"/dags/{dag}/dagRuns/{quoted(run)}"
    progress = Progress()
    while True:
        airflow.check()
        state = airflow.api.get(where)["state"]
        instances = airflow.api.pages(f"{where}/taskInstances", "task_instances")
        progress.show([Task.read(instance) for instance in instances])
        if state in ("success", "failed"):
            return bool(state == "success")
        time.sleep(0.5)


def tell_failures(airflow: Airflow, dag: str, run: str) -> str:
    """Print each failed task with the last lines of its log, and return all that was printed.

    The last task, the report, fails whenever another did; it is told of only when it alone failed.
    """
    where = f"/dags/{dag}/dagRuns/{quoted(run)}/taskInstances"
    failed = [one for one in airflow.api.pages(where, "task_instances") if one["state"] == "failed"]
    lines = []
    for instance in [one for one in failed if one["task_id"] != "report"] or failed:
        lines += ["", f"{Task.read(instance).full_name} failed:"]
        lines += [f"  {line}" for line in log_lines(airflow, where, instance)[-TOLD:]]
    text = "\n".join(lines)
    print(text)
    return text


def log_lines(airflow: Airflow, where: str, instance: dict[str, Any]) -> list[str]:
    """What the last try of a task logged by itself, without Airflow's own lines, and its errors in short."""
    path = f"{where}/{quoted(instance['task_id'])}/logs/{instance['try_number']}"
    log = airflow.api.get(path, map_index=instance["map_index"], full_content="true")
    lines = []
    for entry in log["content"]:
        marker = entry["event"].startswith(("::group::", "::endgroup::"))
        if not marker and not entry.get("logger", "task").startswith(("task", "airflow.")):
            lines += entry["event"].splitlines()
        for error in entry.get("error_detail") or []:
            lines += f"{error['exc_type']}: {error['exc_value']}".splitlines()
    return lines


def report(airflow: Airflow, work: Work, run: str, quiet: bool) -> int:
    """The engine's own report; its exit code says whether the migration is a true success.

    `quiet` leaves out why there is none: a run that failed early has been explained.
    """
    print(flush=True)  # what is printed here and what the report prints shall come in this order
    return subprocess.run(
        [sys.executable, "-P", "-m", "migration", "report", "--plan", work.plan.name, "--run", run],
        env=airflow.environment() | {"MIGRATION_TARGET_DSN": work.target.url},
        stderr=subprocess.DEVNULL if quiet else None,
    ).returncode


def how_to_continue(options: Options, told: str = "") -> str:
    """The commands that lead on from a failure; `told` is what was said of it."""
    same = ["./run", *([shlex.quote(str(options.source))] if options.source else [])]
    same += ["--plan", options.plan] if options.plan else ["--name", options.name] if options.name else []
    same += ["--target", "postgresql://…"] if options.target else []
    if "on_live_tables=retire" in told:
        return f"To set the live tables aside: {' '.join(same)} --on-live-tables retire"
    return (
        "To go on, mend what the message names; then start anew, or open Airflow and clear the failed task: "
        f"{' '.join(same)} --ui"
    )


# -- what it works on

KEYS = Secrets(LOCAL / "secrets.json")


def started_cluster() -> Cluster:
    cluster = local_cluster()
    cluster.start()
    return cluster


def connections(work: Work) -> dict[str, dict[str, Any]]:
    """Airflow's connections, as the plan names them, and the target of any plan that is written meanwhile."""
    target = work.target.airflow_connection
    found = {work.plan.target: target, "migration_target": target}
    if not work.plan.source.startswith("/"):
        found[work.plan.source] = {"conn_type": "sqlite", "host": str(work.source)}
    return found


def source_of(plan: str | None) -> Path:
    """The database to migrate when none is given: the plan's own, or the sample of the plan that comes along."""
    if plan in (None, WIDGETTDC):
        return sample()
    source = read(plan).source
    if not source.startswith("/"):
        raise LocalError(f"The plan {plan} names no file: give the database too.", status=2)
    return Path(source)


def sample() -> Path:
    """The generated sample database, made when first asked for."""
    made, new = LOCAL / "sample", LOCAL / "sample.new"
    if not made.exists():
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        print("Making a sample database …", flush=True)
        command = [sys.executable, "-P", "-m", "widgettdc.sample", str(new / "widgettdc.db")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        new.rename(made)
    return made / "widgettdc.db"


class Busy(LocalError):
    """Another ./run holds this checkout."""


@contextmanager
def alone(wait: bool = False) -> Iterator[None]:
    """Only one process at a time drives this checkout's Airflow; its number is in the lock file."""
    with locked(require_folder(LOCAL) / BUSY.name, None if wait else _refuse) as descriptor:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield


def _refuse() -> None:
    raise Busy(f"Another ./run works here (process {BUSY.read_text()}); wait for it, or end it with ./run stop.")


def busy_process() -> int | None:
    """The ./run that drives this checkout's Airflow now, if one does."""
    try:
        with locked(require_folder(LOCAL) / BUSY.name, _refuse):
            return None
    except Busy:
        number = BUSY.read_text() or "none yet"
        command = Path("/proc", number, "cmdline")
        words = command.read_bytes().split(b"\0") if command.exists() else []
        return int(number) if b"local.command" in words and b"stop" not in words else None


if __name__ == "__main__":
    with told_in_one_sentence(sys.argv[1]):
        sys.exit(main(sys.argv[1], sys.argv[2:]))
