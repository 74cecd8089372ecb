"""The PostgreSQL database that a migration fills: the embedded one, or one of the user's own, checked."""

import shlex
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from local.files import LocalError, Secrets
from local.postgres import HOST, Cluster

TAKEN = ("airflow", "postgres", "template0", "template1")
"""The embedded server's own databases."""
OWNER = "widgettdc_user"
SSL_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


@dataclass(frozen=True)
class Target:
    """Where and as whom. `options` are libpq's ssl settings."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """With the password: for the terminal and for processes, not for logs."""
        return self._url(quote(self.password, safe=""))

    @property
    def shown(self) -> str:
        return self._url("…")

    def _url(self, password: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        login = f"{quote(self.user, safe='')}:{password}" if self.password else quote(self.user, safe="")
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"postgresql://{login}@{host}:{self.port}/{quote(self.database, safe='')}{query}"

    @property
    def airflow_connection(self) -> dict[str, Any]:
        return {
            "conn_type": "postgres",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.database,
            "extra": self.options,
        }

    @property
    def application_lines(self) -> list[str]:
        """What the application's environment needs, quoted for a shell or a .env file where that is due."""
        values = {
            "DATABASE_TYPE": "postgres",
            "POSTGRES_HOST": self.host,
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USER": self.user,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": self.database,
            "DATABASE_URL": self.url,
        }
        return [f"{name}={shlex.quote(value)}" for name, value in values.items()]


def embedded_target(cluster: Cluster, keys: Secrets, plan: str) -> Target:
    """The plan's database in the running cluster, named like it and made if it is not there."""
    password, database = keys.get("widgettdc_user"), f"{plan}_db" if plan in TAKEN else plan
    cluster.ensure_database(database, OWNER, password)
    return Target(HOST, cluster.port, OWNER, password, database)


def own_target(url: str) -> Target:
    """The user's own database, after one connection to it; a sentence without secrets when there is none.

    The connection's own parameters are kept, so that PGPASSWORD, a password file and the like count.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # its message may quote the password
        raise _no_address() from None
    if "@" in str(given.get("host", "")):  # the rest of a password
        raise _no_address()
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            info = connection.info
            used = info.get_parameters()
            return Target(
                host=info.host,
                port=info.port,
                user=info.user,
                password=info.password,
                database=info.dbname,
                options={name: value for name, value in used.items() if name in SSL_OPTIONS},
            )
    except psycopg.Error as error:
        reason = " ".join(str(error).removeprefix("connection failed: ").split())
        if given.get("password"):
            reason = reason.replace(str(given["password"]), "…")
        raise LocalError(f"--target cannot be used: {reason}", status=2) from None


def _no_address() -> LocalError:
    return LocalError(
        "--target is no PostgreSQL address; it must read postgresql://user:password@host:port/database, "
        "with %-escapes for special characters in the password.",
        status=2,
    )
