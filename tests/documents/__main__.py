"""The command `python -m tests.documents`: says which pages are not what they would be made now; --write makes them."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

from local.postgres import throwaway_cluster  # noqa: E402
from tests.documents import durations  # noqa: E402
from tests.documents.facts import gather  # noqa: E402
from tests.documents.pages import outdated, pages  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all pages are as they should be, or are now; 1 when some are not."""
    parser = argparse.ArgumentParser(prog="python -m tests.documents", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the pages below docs")
    parser.add_argument("--measure", action="store_true", help="measure the durations of the migration plan first")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if options.measure:
            with throwaway_cluster({}) as cluster:  # durable, as a real one
                durations.measure(Path(folder), cluster.dsn())
        with throwaway_cluster() as cluster:
            made = pages(gather(Path(folder), cluster.dsn()))
    late = outdated(made)
    for path in late:
        print(f"{path.relative_to(ROOT)}: {'written' if options.write else 'not what it would be made now'}")
        if options.write:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path], "utf-8")
    return 1 if late and not options.write else 0


if __name__ == "__main__":
    raise SystemExit(main())
