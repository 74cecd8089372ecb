"""Brings Airflow's metadata up to date: tables, the pool of COPYs, the administrator with today's password.

Safe to run at every start. One process for all commands: each `airflow …` costs seconds of imports.
"""

import os
from pathlib import Path

from airflow.cli import cli_parser


def airflow(*command: str) -> None:
    """What `airflow COMMAND` does; nothing of it is seen in a list of processes."""
    arguments = cli_parser.get_parser().parse_args(command)
    arguments.func(arguments)


airflow("db", "migrate")
airflow("pools", "set", "postgres_copy", os.environ["COPY_SLOTS"], "COPYs into the target at one time")

name = os.environ["AIRFLOW_ADMIN"]
password = Path("/run/init-secrets/admin").read_text()
person = ["--firstname", "Stack", "--lastname", "Administrator", "--email", f"{name}@example.com"]
airflow("users", "create", "--username", name, "--role", "Admin", *person, "--password", password)
airflow("users", "reset-password", "--username", name, "--password", password)

if "," in Path("/run/secrets/fernet_key").read_text():
    airflow("rotate-fernet-key")
