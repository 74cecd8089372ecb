"""./run as its user meets it: in a fresh copy of the project."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.files import ROOT


@contextmanager
def fresh_checkout() -> Iterator[Path]:
    """A copy of the project in which nothing was made yet; whatever runs there is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="a fresh checkout ") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # started by root, the server's user must be able to enter
        made_here = shutil.ignore_patterns(".local", ".git", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, ignore=made_here, dirs_exist_ok=True)
        yield copy
        run(copy, "stop")


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ./run to its end."""
    command = [str(checkout / "run"), *arguments]
    return subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800)
