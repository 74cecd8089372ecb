"""Brings Airflow's metadata up to date: tables, the pool of COPYs, the administrator with today's password.

Safe to run at every start. One process for all commands: each `airflow …` costs seconds of imports, and nothing of
them is seen in a list of processes.
"""

import os
from pathlib import Path

from airflow.cli import cli_parser


def commands(admin: str, password: str, slots: str) -> list[list[str]]:
    """What `airflow` is told to do, in order. With '=': a password may begin with '-'."""
    person = ["--firstname=Stack", "--lastname=Administrator", f"--email={admin}@example.com"]
    login = [f"--username={admin}", f"--password={password}"]
    return [
        ["db", "migrate"],
        ["pools", "set", "postgres_copy", slots, "COPYs into the target at one time"],
        ["users", "create", *login, "--role=Admin", *person],
        ["users", "reset-password", *login],
    ]


def airflow(command: list[str]) -> None:
    arguments = cli_parser.get_parser().parse_args(command)
    arguments.func(arguments)


if __name__ == "__main__":
    secret = Path("/run/init-secrets/admin").read_text()
    for command in commands(os.environ["AIRFLOW_ADMIN"], secret, os.environ["COPY_SLOTS"]):
        airflow(command)
    if "," in Path("/run/secrets/fernet_key").read_text():
        airflow(["rotate-fernet-key"])
