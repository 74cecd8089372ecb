"""The embedded PostgreSQL: a real one, started, killed, locked out and found again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local import postgres
from local.files import ROOT, LocalError
from local.postgres import HOST, Account, Cluster, choose_account, throwaway_cluster

STARTER = """
import time
from local.postgres import throwaway_cluster
with throwaway_cluster() as cluster:
    print(cluster.process(), cluster.home, flush=True)
    time.sleep(60)
"""

LASTING_STARTER = """
import sys
from pathlib import Path
from local.postgres import Cluster, choose_account
Cluster(Path(sys.argv[1]), account=choose_account()).start()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster() as cluster:
        yield cluster


def pid(cluster: Cluster) -> int:
    process = cluster.process()
    assert process is not None
    return process


def one(cluster: Cluster, question: str) -> object:
    with cluster.connect() as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row
        return row[0]


def test_the_server_never_runs_as_root_and_its_data_is_its_own(cluster: Cluster) -> None:
    account = choose_account()
    uid = account.uid if account else os.geteuid()
    assert uid != 0
    assert Path(f"/proc/{pid(cluster)}").stat().st_uid == uid
    assert cluster.data.stat().st_uid == uid
    assert cluster.data.stat().st_mode & 0o777 == 0o700


def test_it_listens_on_loopback_alone_and_opens_no_socket_file(cluster: Cluster) -> None:
    assert one(cluster, "SHOW listen_addresses") == HOST
    assert one(cluster, "SHOW unix_socket_directories") == ""


def test_it_speaks_unicode_keeps_utc_and_compresses_documents_fast(cluster: Cluster) -> None:
    assert one(cluster, "SELECT upper('æøå ß ñ')") == "ÆØÅ ß Ñ"
    assert one(cluster, "SELECT '2024-07-01 00:00+00'::timestamptz::text") == "2024-07-01 00:00:00+00"
    assert one(cluster, "SHOW default_toast_compression") == "lz4"


def test_a_wrong_password_is_turned_away(cluster: Cluster) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.dsn(password="wrong"))


def test_secrets_and_port_are_files_of_their_owner_alone(cluster: Cluster) -> None:
    for name in ("password", "port"):
        assert (cluster.home / name).stat().st_mode & 0o777 == 0o600


def test_a_database_belongs_to_its_role_and_to_no_other(cluster: Cluster) -> None:
    cluster.ensure_database("mine", "me", "first password")
    cluster.ensure_database("yours", "you", "a password")
    cluster.ensure_database("mine", "me", "second password")
    with psycopg.connect(cluster.dsn("mine", "me", "second%20password")) as connection:
        connection.execute("CREATE SCHEMA of_mine")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(cluster.dsn("yours", "me", "second%20password"))
    assert one(cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = 'me'") is False
    assert "second password" not in cluster.log.read_text()


def test_a_second_start_finds_the_running_server(cluster: Cluster) -> None:
    before = pid(cluster)
    Cluster(cluster.home, durable=False, account=cluster.account).start()
    assert pid(cluster) == before


def test_after_kill_9_it_starts_again_at_the_same_address(cluster: Cluster) -> None:
    process, port = pid(cluster), cluster.port
    os.kill(process, signal.SIGKILL)
    cluster.start()
    assert pid(cluster) != process
    assert cluster.port == port


def test_a_lock_file_whose_number_now_belongs_to_another_process_does_not_hold_it_up(
    cluster: Cluster,
) -> None:
    lines = (cluster.data / "postmaster.pid").read_text().splitlines()
    cluster.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (cluster.data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        cluster.start()
        assert pid(cluster) != stranger.pid
        assert stranger.poll() is None
        stranger.kill()


def test_when_another_program_took_its_port_it_moves(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    port = cluster.port
    cluster.stop()
    with socket.create_server((HOST, port)):
        cluster.start()
        assert cluster.port != port
        assert one(cluster, "SELECT 1") == 1


def test_stop_ends_open_connections_too_and_says_whether_anything_ran(cluster: Cluster) -> None:
    connection = cluster.connect()
    assert cluster.stop() is True
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    assert cluster.stop() is False
    assert cluster.process() is None
    cluster.start()


def test_a_server_that_cannot_start_says_why(cluster: Cluster) -> None:
    cluster.stop()
    version = cluster.data / "PG_VERSION"
    right = version.read_text()
    version.write_text("12\n")
    with pytest.raises(LocalError, match="database files are incompatible with server"):
        cluster.start()
    version.write_text(right)
    cluster.start()


def test_an_interrupted_creation_is_begun_again() -> None:
    with throwaway_cluster() as cluster:
        cluster.stop()
        shutil.move(cluster.data, cluster.home / "data.new")
        cluster.start()
        assert one(cluster, "SELECT 1") == 1


def test_a_throwaway_server_ends_with_the_process_that_started_it() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    number, home = starter.stdout.readline().split()
    assert Path("/proc", number).exists()
    starter.kill()
    starter.communicate()
    deadline = time.monotonic() + 20
    while Path("/proc", number).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(home)
    assert not Path("/proc", number).exists()


def test_a_lasting_server_outlives_its_starter_and_guards_its_pages(cluster: Cluster) -> None:
    home = cluster.home / "lasting"
    subprocess.run([sys.executable, "-c", LASTING_STARTER, home], cwd=ROOT, check=True)
    lasting = Cluster(home, account=cluster.account)
    try:
        assert [one(lasting, f"SHOW {name}") for name in ("fsync", "full_page_writes", "data_checksums")] == ["on"] * 3
    finally:
        assert lasting.stop() is True


def test_programs_that_the_account_cannot_reach_are_copied_to_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "can_reach", lambda account, path: False)
    programs = Cluster(tmp_path, account=Account(os.getuid(), os.getgid()))._programs()
    assert programs.is_relative_to(tmp_path)
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, env={})
    assert said.stdout.startswith("postgres (PostgreSQL) 17.")
    assert (programs / "postgres").stat().st_mode & 0o055 == 0o055
