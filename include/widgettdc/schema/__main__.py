"""The command `python -m widgettdc.schema`: upgrade, downgrade, check and draft.

The connection string comes from the environment variable DATABASE_URL, never from the command line, where other users
could read it.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from widgettdc.errors import WidgetTdcError
from widgettdc.schema.commands import check, downgrade, draft, upgrade


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 1 when it could not be or `check` found something, 2 when asked for what cannot be."""
    parser = argparse.ArgumentParser(prog="python -m widgettdc.schema", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("upgrade", help="to the newest revision; tables that the migration made are recognised")
    up.add_argument("revision", nargs="?", default="head")
    commands.add_parser("downgrade", help="back to a revision").add_argument("revision")
    commands.add_parser("check", help="whether the database is that of the newest revision")
    commands.add_parser("draft", help="write the next revision, from schema/metadata.py").add_argument("message")
    options = parser.parse_args(arguments)
    dsn = os.environ.get("DATABASE_URL")
    if not dsn:
        parser.error("set DATABASE_URL, e.g. to postgresql://user:password@host/database")
    try:
        if options.command == "upgrade":
            print("at revision", upgrade(dsn, options.revision))
        elif options.command == "downgrade":
            print("at revision", downgrade(dsn, options.revision))
        elif options.command == "draft":
            print("wrote", draft(dsn, options.message))
        elif found := check(dsn):
            print(*found, sep="\n")
            return 1
    except WidgetTdcError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
