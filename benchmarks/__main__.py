"""The command `./bench`: one subcommand for each part of the product whose speed is measured."""

import sys

from benchmarks.data_layer import command as data_layer
from benchmarks.indexes import command as indexes
from benchmarks.load import command as load
from local.files import told_in_one_sentence

COMMANDS = {"data-layer": data_layer.main, "indexes": indexes.main, "load": load.main}
USAGE = """usage: ./bench SUBCOMMAND [OPTIONS]    (./bench SUBCOMMAND --help)

  data-layer    the application's operations, SQLite against PostgreSQL: alone, together, and under load
  indexes       the application's indexes: what each serves and costs, and what else could serve searches
  load          a whole migration: against the limit, psql's COPY of ready files, and against other loaders
"""


def main(arguments: list[str]) -> int:
    """The subcommand's exit code; 2 when there is none of that name."""
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    asked = arguments in (["-h"], ["--help"])
    print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    with told_in_one_sentence("bench"):
        sys.exit(main(sys.argv[1:]))
