"""The first step of ./run and ./test, with nothing but a shell: finding a Python that really runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from local.files import ROOT

# What `local/start` is answered by each kind of python on PATH when it asks.
SUITABLE = 'test "$2" = -c && exit 0; echo "$(basename "$0")" "$@"'
TOO_OLD = "exit 1"
WITHOUT_VENV = "exit 3"
BROKEN_SHIM = 'echo "pyenv: $0: command not found" >&2; exit 127'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH that holds no Python yet, and what a POSIX shell script needs."""
    for tool in ("sh", "dirname", "basename"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    return tmp_path


def install(path: Path, name: str, answer: str) -> None:
    (path / name).write_text(f"#!/bin/sh\n{answer}\n")
    (path / name).chmod(0o755)


def start(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "run"), *arguments], env={"PATH": str(path)}, capture_output=True, text=True, cwd="/"
    )


@pytest.mark.parametrize("unfit", [TOO_OLD, WITHOUT_VENV, BROKEN_SHIM])
def test_the_first_python_that_can_do_it_is_taken(path: Path, unfit: str) -> None:
    install(path, "python3", unfit)
    install(path, "python3.13", BROKEN_SHIM)
    install(path, "python3.12", SUITABLE)
    install(path, "python3.11", SUITABLE)
    assert start(path, "my app.db").stdout == f"python3.12 -I {ROOT}/local/bootstrap.py run my app.db\n"


def test_without_any_python_one_sentence_says_which_is_needed(path: Path) -> None:
    install(path, "python3", TOO_OLD)
    ended = start(path)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == "./run: Python 3.11, 3.12 or 3.13 is needed, and no python3 on PATH is one of them.\n"


def test_a_python_without_its_venv_module_is_named_with_the_remedy(path: Path) -> None:
    install(path, "python3.11", WITHOUT_VENV)
    ended = start(path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("./run: python3.11 has no venv module; install it (")
    assert ended.stderr.count("\n") == 1
