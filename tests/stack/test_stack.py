"""``docker compose up`` as its operators meet it. Needs a Docker engine with Compose v2: ./test -m slow tests/stack

The tests are one story and run in this order: a cold start, migrations, crashes, a stop, rotations, then workers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
import psycopg
import pytest

from local.api import Api, ApiError, quoted
from tests.stack.stack import LASTING, ONCE, REAL, Stack, crash, docker, refused, until

pytestmark = pytest.mark.slow

ROWS = 30_900
SCALE = 20
"""Times the sample's rows for a load long enough to be interrupted."""
COPYING = (
    "SELECT count(*) AS n FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid) WHERE usename = 'widgettdc_user'"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        print(f"\ncold `docker compose up --build --wait`: {stack.up():.0f} s")
        yield stack
    finally:
        stack.remove()


def rows_of(stack: Stack) -> int:
    """The rows in WidgetTDC's live tables."""
    tables = stack.query(
        "SELECT format('%I', tablename) AS t FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'items'"
    )
    counts = " + ".join(f"(SELECT count(*) FROM public.{table})" for (table,) in tables)
    return int(stack.query(f"SELECT {counts} AS n")[0][0])


def migrate(stack: Stack, dag: str = "migrate_widgettdc") -> str:
    run = stack.trigger(dag, **REAL)
    assert stack.ended(run, dag) == "success", stack.why(run, dag)
    return run


def test_one_command_on_a_fresh_copy_ends_with_everything_healthy(stack: Stack) -> None:
    states = {c["Config"]["Labels"]["com.docker.compose.service"]: c["State"] for c in stack.containers()}
    assert {s: states[s]["Health"]["Status"] for s in LASTING} == dict.fromkeys(LASTING, "healthy")
    assert {s: states[s]["ExitCode"] for s in ONCE} == dict.fromkeys(ONCE, 0)
    assert stack.api.get("/pools/postgres_copy")["slots"] == 4
    dags = {dag["dag_id"]: dag["is_paused"] for dag in stack.api.pages("/dags", "dags")}
    assert dags["migrate_widgettdc"] is False
    assert dags["assess_sqlite"] is False


def test_up_once_more_leaves_what_runs_alone(stack: Stack) -> None:
    before = {service: stack.container(service) for service in LASTING}
    stack.compose("up", "-d", "--wait")
    after = {service: stack.container(service) for service in LASTING}
    assert {s: (c["Id"], c["State"]["StartedAt"]) for s, c in after.items()} == {
        s: (c["Id"], c["State"]["StartedAt"]) for s, c in before.items()
    }


def test_every_published_port_listens_on_loopback_alone(stack: Stack) -> None:
    published = [b for c in stack.containers() for p in c["NetworkSettings"]["Ports"].values() for b in p or []]
    assert sorted(b["HostPort"] for b in published) == sorted(stack.ports.values())
    assert {b["HostIp"] for b in published} == {"127.0.0.1"}
    listening = {c.laddr for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert {ip for ip, port in listening if str(port) in stack.ports.values()} == {"127.0.0.1"}


def test_no_service_runs_as_root_or_with_a_privilege_to_gain(stack: Stack) -> None:
    for container in stack.containers():
        service, host = container["Config"]["Labels"]["com.docker.compose.service"], container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        if service in LASTING:
            uid = stack.compose("exec", "-T", service, "id", "-u").strip()
            assert uid != "0", service
        else:  # those that hand out files do so without any network
            assert container["Config"]["User"] != "root" or host["NetworkMode"] == "none", service


def test_a_role_reaches_its_own_database_and_nothing_else(stack: Stack) -> None:
    mine, airflows = stack.secret("widgettdc_user"), stack.secret("airflow_database")
    with psycopg.connect(stack.dsn("widgettdc_user", "widgettdc", mine)) as connection:
        connection.execute("CREATE TABLE public.own (id int)")
        connection.rollback()
    for database in ("airflow", "postgres", "template1"):
        assert "permission denied for database" in refused(stack.dsn("widgettdc_user", database, mine))
    for database in ("widgettdc", "postgres", "template1"):
        assert "permission denied for database" in refused(stack.dsn("airflow", database, airflows))
    assert "password authentication failed" in refused(stack.dsn("widgettdc_user", "widgettdc", airflows))
    assert "no password supplied" in refused(stack.dsn("postgres", "postgres", ""))
    roles = "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls AS more, left(rolpassword, 13) AS kind FROM pg_authid WHERE rolcanlogin"
    assert sorted(stack.query(roles)) == [
        ("airflow", False, "SCRAM-SHA-256"),
        ("postgres", True, None),
        ("widgettdc_user", False, "SCRAM-SHA-256"),
    ]


def test_the_sample_migrates_to_green_over_the_rest_api(stack: Stack) -> None:
    stack.sample("/data/widgettdc.db")
    migrate(stack)
    assert rows_of(stack) == ROWS


def test_a_live_database_in_wal_mode_in_the_read_only_folder_is_assessed_and_migrated(stack: Stack) -> None:
    path = stack.root / "data/shop.db"
    with closing(sqlite3.connect(path)) as application:
        application.execute("PRAGMA journal_mode = WAL")
        application.execute("PRAGMA wal_autocheckpoint = 0")
        application.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL)")
        application.executemany("INSERT INTO items (name, price) VALUES (?, ?)", [(f"n{i}", i / 4) for i in range(500)])
        application.commit()
        assert path.stat().st_size < path.with_name("shop.db-wal").stat().st_size  # the rows are in the WAL alone
        run = stack.trigger("assess_sqlite", source="/data/shop.db", name="", replace=False)
        assert stack.ended(run, "assess_sqlite") == "success", stack.why(run, "assess_sqlite")
        plan = stack.root / "include/plans/shop.yaml"
        assert plan.stat().st_mode & 0o777 == 0o664  # a person of the folder's group can change it
        assert plan.stat().st_gid == plan.parent.stat().st_gid
        migrate(stack, "migrate_shop")
    assert stack.query("SELECT count(*) AS n, sum(price) AS s FROM public.items") == [(500, 31187.5)]


def test_a_dump_of_the_target_brings_everything_back_as_the_page_says(stack: Stack) -> None:
    page = (stack.root / "docs/deployment.md").read_text()
    [dumps], [back] = (
        re.findall(f"```sh\n([^`]*{command}[^`]*)```", page) for command in ("pg_dump -Fc w", "pg_restore -1 -d w")
    )
    application = stack.dsn("widgettdc_user", "widgettdc", stack.secret("widgettdc_user"))
    with psycopg.connect(application) as connection:
        connection.execute(OF_THE_APPLICATION)
    before = stack.everything("widgettdc")
    assert sum(line.startswith("public.memory_tags\t") for line in before) == 9000
    assert sum(line.startswith("app.event\t") for line in before) == 5000
    stack.shell(dumps)
    migrate(stack)
    with psycopg.connect(application) as connection:
        connection.execute(
            "UPDATE app.event SET body = 'null'; INSERT INTO app.event DEFAULT VALUES; DROP VIEW app.late"
        )
    later = stack.everything("widgettdc")
    assert len(later) > len(before) + ROWS  # with what the migration set aside
    stack.shell(with_a_client_as_old_as_the_server(stack, back))
    assert stack.everything("widgettdc") == before
    assert stack.everything("widgettdc_set_aside") == later
    with psycopg.connect(application) as connection:
        row = connection.execute("INSERT INTO app.event DEFAULT VALUES RETURNING id").fetchone()
        assert row == (5001,)
        connection.rollback()
    assert "permission denied for database" in refused(
        stack.dsn("airflow", "widgettdc", stack.secret("airflow_database"))
    )
    migrate(stack)
    assert rows_of(stack) == ROWS


OF_THE_APPLICATION = """
    CREATE SCHEMA app;
    CREATE TABLE app.event (
        id serial PRIMARY KEY, at timestamptz DEFAULT '0044-03-15 11:00:00.000001+00 BC', body jsonb, raw bytea,
        amount numeric, ratio double precision, label text CHECK (label <> ''), tags text[], cause int REFERENCES app.event
    );
    INSERT INTO app.event (at, body, raw, amount, ratio, label, tags, cause)
    SELECT timestamptz '2024-03-31 00:59:59.999999+00' + n * interval '7 hours 1 microsecond',
        jsonb_build_object('n', n, 'deep', jsonb_build_array(n / 7.0, NULL, E'line\\nbreak \\u2028 \\\\.')),
        decode(md5(n::text), 'hex') || '\\x00ff'::bytea,
        (ARRAY['NaN', 'Infinity', '0.10', '-1e-30'])[n % 4 + 1]::numeric, (ARRAY['-0', 'NaN', '-Infinity', '0.1'])[n % 4 + 1]::float8 / 3,
        E'\\\\N\\ttab ' || chr(128512) || n, ARRAY['', NULL, 'a,"b"'], nullif(n - 1, 0)
    FROM generate_series(1, 5000) n;
    CREATE INDEX event_body ON app.event USING gin (body);
    CREATE VIEW app.late AS SELECT id, at FROM app.event WHERE at > now();
    COMMENT ON TABLE app.event IS 'of the application';
"""


def with_a_client_as_old_as_the_server(stack: Stack, lines: str) -> str:
    """The lines themselves where the image's client is of the server's version, as it is in the official one. A newer
    pg_restore sets something that the server does not know; its script is freed of that."""
    major = "sh -c 'pg_restore --version | grep -o \"[0-9]*\" | head -1'"
    client = stack.shell(f"docker compose exec -T postgres {major}").strip()
    if [(client,)] == stack.query("SELECT (current_setting('server_version_num')::int / 10000)::text AS major"):
        return lines
    filtered = (
        "sh -c 'pg_restore -f - | sed \"/^SET transaction_timeout/d\" | psql -X -q -1 -v ON_ERROR_STOP=1 -d widgettdc'"
    )
    return lines.replace("pg_restore -1 -d widgettdc", filtered)


@pytest.mark.parametrize("service", LASTING)
def test_a_crash_of_any_container_in_the_middle_of_a_load_loses_nothing(stack: Stack, service: str) -> None:
    larger(stack)
    interrupted(stack, service)
    assert rows_of(stack) == ROWS * SCALE


@pytest.mark.parametrize("service", LASTING)
def test_a_container_that_was_stopped_on_purpose_comes_back_with_up(stack: Stack, service: str) -> None:
    killed(stack, service)


def killed(stack: Stack, service: str, *options: str) -> None:
    """`docker kill` the container: it stays away until `docker compose up -d`, which brings that one back."""
    rows, before = rows_of(stack), stack.container(service)
    docker("kill", before["Id"])
    assert not stack.container(service)["State"]["Running"]
    stack.compose("up", "-d", "--wait", *options)
    after = stack.container(service)
    assert after["Id"] == before["Id"]
    assert after["State"]["Health"]["Status"] == "healthy"
    assert rows_of(stack) == rows


def larger(stack: Stack) -> None:
    """A source whose load takes long enough to be interrupted."""
    if not (stack.root / "data/large.db").exists():
        stack.sample("/data/large.db", "--scale", str(SCALE))
    (stack.root / "data/widgettdc.db").unlink(missing_ok=True)
    (stack.root / "data/widgettdc.db").hardlink_to(stack.root / "data/large.db")


def interrupted(stack: Stack, service: str, number: int = 1) -> None:
    """Crash the container while rows are sent; it comes back by itself, and the run ends green, at the latest when
    its failed tasks are cleared."""
    run = stack.trigger(**REAL)
    until(lambda: True if stack.query(COPYING) != [(0,)] else None, 180)
    before = stack.container(service, number)
    crash(before)

    def back() -> bool | None:
        state = stack.container(service, number)["State"]
        started_anew = state["StartedAt"] != before["State"]["StartedAt"]
        return True if started_anew and state["Health"]["Status"] == "healthy" else None

    until(back, 300)
    ended = by_itself = stack.ended(run)
    if ended == "failed":
        stack.clear_failed(run)
        until(lambda: True if stack.state(run, "migrate_widgettdc") in ("queued", "running") else None, 60)
        ended = stack.ended(run)
    again = {name: task["try_number"] for name, task in stack.tasks(run).items() if task["try_number"] > 1}
    print(f"\ncrash of {service}: the run ended {by_itself} by itself; tried again: {again or 'nothing'}")
    assert ended == "success", stack.why(run)


def test_down_and_up_keep_rows_logs_snapshots_runs_and_secrets(stack: Stack) -> None:
    with kept(stack):
        stack.compose("down")
        stack.up()


def test_an_image_built_anew_with_more_requirements_keeps_them_too(stack: Stack) -> None:
    settings = stack.root / ".env"
    with kept(stack):
        settings.write_text(settings.read_text().replace("EXTRA_REQUIREMENTS=", "EXTRA_REQUIREMENTS=iniconfig==2.1.0"))
        stack.up()
        installed = ("python", "-c", "from importlib.metadata import version; print(version('iniconfig'))")
        assert stack.compose("exec", "-T", "airflow-scheduler", *installed).strip() == "2.1.0"


@contextmanager
def kept(stack: Stack) -> Iterator[None]:
    """Rows, logs, snapshots, runs and secrets are there before, and the same ones afterwards."""

    def found() -> tuple[int, list[str], list[str], set[str]]:
        runs = [r["dag_run_id"] for r in stack.api.pages("/dags/~/dagRuns", "dag_runs") if r["state"] == "success"]
        secrets = [stack.secret(name) for name in stack.compose("run", "--rm", "secrets", "list").split()]
        files = stack.compose("exec", "-T", "airflow-scheduler", "find", "logs", "migration", "-name", "*manual*")
        return rows_of(stack), sorted(runs), secrets, set(files.split())

    before = found()
    yield
    after = found()
    assert all(before)
    assert after[:3] == before[:3]
    assert before[3] <= after[3]


def test_a_rotated_secret_is_in_use_and_its_former_value_lets_nobody_in(stack: Stack) -> None:
    stack.api.post("/connections", {"connection_id": "of_a_person", "conn_type": "http", "password": "kept"})
    names = stack.compose("run", "--rm", "secrets", "list").split()
    former = {name: stack.secret(name) for name in names}
    for name in names:
        stack.compose("run", "--rm", "secrets", "rotate", name)
    stack.compose("up", "-d", "--force-recreate", "--wait")
    assert not {stack.secret(name) for name in names} & set(former.values())
    assert "password authentication failed" in refused(
        stack.dsn("widgettdc_user", "widgettdc", former["widgettdc_user"])
    )
    assert "password authentication failed" in refused(stack.dsn("airflow", "airflow", former["airflow_database"]))
    with pytest.raises(ApiError, match="401"):
        Api(stack.api.address, "admin", former["airflow_admin"]).get("/dags")
    assert not stack.opens_pgadmin(former["pgadmin"])
    assert stack.opens_pgadmin(stack.secret("pgadmin"))
    stack.log_in()
    seen = "from airflow.models import Connection; from airflow.utils.session import create_session\nwith create_session() as s: print(s.query(Connection).filter_by(conn_id='of_a_person').one().password)"
    assert stack.compose("exec", "-T", "airflow-scheduler", "python", "-c", seen).split()[-1] == "kept"
    (stack.root / "data/widgettdc.db").unlink()
    stack.sample("/data/widgettdc.db")
    migrate(stack)
    assert rows_of(stack) == ROWS


def test_two_workers_that_share_no_disk_migrate_together(stack: Stack) -> None:
    stack.files.append("docker-compose.celery.yaml")
    print(f"\nwith Celery and two workers: {stack.up('--scale', 'airflow-worker=2'):.0f} s")
    homes = [
        mount["Name"]
        for number in (1, 2)
        for mount in stack.container("airflow-worker", number)["Mounts"]
        if mount["Destination"] == "/opt/airflow/migration"
    ]
    assert len(set(homes)) == 2
    run = migrate(stack)
    ran = {name: task["hostname"] for name, task in stack.tasks(run).items() if task["hostname"]}
    print("\n".join(f"{name:30} {host}" for name, host in ran.items()))
    workers = {stack.container("airflow-worker", number)["Config"]["Hostname"] for number in (1, 2)}
    assert {host for name, host in ran.items() if name.startswith(("load.", "verify."))} == workers
    assert rows_of(stack) == ROWS


def test_two_workers_share_one_table_that_is_loaded_in_ranges(stack: Stack) -> None:
    larger(stack)
    plan = stack.root / "include/plans/widgettdc.yaml"
    text = plan.read_text()
    plan.write_text(text.replace("  raw_documents: {}", "  raw_documents: {ranges: 8}"))

    def known() -> bool | None:
        tasks = stack.api.get("/dags/migrate_widgettdc/tasks")["tasks"]
        return any(task["task_id"] == "load.raw_documents.rows" for task in tasks) or None

    try:
        until(known, 120)
        run = migrate(stack)
    finally:
        plan.write_text(text)
    pages = stack.api.pages(f"/dags/migrate_widgettdc/dagRuns/{quoted(run)}/taskInstances", "task_instances")
    ranges = {t["rendered_map_index"]: t["hostname"] for t in pages if t["task_id"] == "load.raw_documents.rows"}
    print("\n".join(f"{label:20} {host}" for label, host in ranges.items()))
    assert len(ranges) == 8
    assert set(ranges.values()) == {
        stack.container("airflow-worker", number)["Config"]["Hostname"] for number in (1, 2)
    }
    assert rows_of(stack) == ROWS * SCALE


@pytest.mark.parametrize("service", ["airflow-worker", "redis"])
def test_a_crash_of_a_worker_or_of_the_broker_loses_nothing(stack: Stack, service: str) -> None:
    larger(stack)
    interrupted(stack, service)
    assert rows_of(stack) == ROWS * SCALE


@pytest.mark.parametrize("service", ["airflow-worker", "redis"])
def test_a_worker_or_broker_that_was_stopped_on_purpose_comes_back_with_up(stack: Stack, service: str) -> None:
    killed(stack, service, "--scale", "airflow-worker=2")


def test_what_a_worker_reports_lies_in_the_store(stack: Stack) -> None:
    run = stack.trigger("assess_sqlite", source="/data/shop.db", name="", replace=True)
    assert stack.ended(run, "assess_sqlite") == "success", stack.why(run, "assess_sqlite")
    stack.shell(
        "docker compose -f docker-compose.yaml -f docker-compose.celery.yaml cp airflow-worker:/opt/airflow/store ./store"
    )
    assert (stack.root / "store/assessment_shop/report.html").read_text().startswith("<!DOCTYPE html>")
    assert len(list(stack.root.glob("store/*/report.html"))) > 1  # those of the migrations too


def test_no_secret_is_told_by_the_configuration_the_logs_the_processes_or_a_file(stack: Stack) -> None:
    names = stack.compose("run", "--rm", "secrets", "list").split()
    values = [part for name in names for part in stack.secret(name).split(",")]
    assert len(set(values)) == len(values) >= 8
    assert all(len(value) >= 32 for value in values)
    running = [c["Id"] for c in stack.containers() if c["State"]["Running"]]
    told = {
        "docker compose config": stack.compose("config"),
        "docker inspect": str(stack.containers()),
        "docker compose logs": stack.compose("logs", "--no-color"),
        "the tasks' logs": stack.compose("exec", "-T", "airflow-scheduler", "grep", "-rh", "", "/opt/airflow/logs"),
        "docker top": "".join(docker("top", c, "-eo", "pid,args") for c in running),
        "the environment": "".join(docker("exec", c, "env") for c in running),
    }
    for where, text in told.items():
        assert len(text) > 1000, where
        assert not [value for value in values if value in text], where
    for path in stack.root.rglob("*"):
        if path.is_file() and path.suffix not in (".db", ".pyc"):
            content = path.read_bytes()
            assert not [value for value in values if value.encode() in content], path
