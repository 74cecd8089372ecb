"""Setting up the environment: the parts that can go wrong before there is one."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from local import bootstrap
from local.files import ROOT, LocalError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty .local of the test's own."""
    monkeypatch.setattr(bootstrap, "LOCAL", tmp_path)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "setup.log")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / "venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "venv" / "complete")
    return tmp_path


def test_the_lock_pins_every_package_with_hashes_and_names_no_machine() -> None:
    text = bootstrap.LOCK.read_text()
    packages = [line for line in text.splitlines() if line[:1].isalnum()]
    assert len(packages) > 100
    assert all("==" in line and line.endswith("\\") for line in packages)
    assert "://" not in text
    assert "file:" not in text


def test_every_direct_dependency_is_in_the_lock_with_its_version() -> None:
    lock = bootstrap.LOCK.read_text()
    for name in ("requirements.txt", "requirements-local.txt"):
        for line in (ROOT / name).read_text().splitlines():
            requirement, _, comment = line.partition("#")
            if requirement.strip() and not requirement.startswith("-r"):
                assert comment.strip(), f"{name} does not say why it names {requirement}"
                pinned = requirement.strip().lower().replace("[binary]", "")
                assert f"\n{pinned} " in lock, f"compile {name} anew: {pinned} is not in the lock"


def test_the_installer_comes_from_the_lock_too() -> None:
    entry = bootstrap.lock_entry("uv")
    assert entry.startswith("uv==")
    assert "--hash=sha256:" in entry
    assert "# via" not in entry


@pytest.mark.parametrize(
    ("system", "machine", "libc", "message"),
    [
        ("darwin", "arm64", ("", ""), "need Linux on x86_64 or aarch64 \\(this is darwin on arm64\\)"),
        ("linux", "riscv64", ("glibc", "2.36"), "this is linux on riscv64"),
        ("linux", "x86_64", ("glibc", "2.31"), "need glibc 2.34 or newer \\(this system has glibc 2.31\\)"),
        ("linux", "x86_64", ("", ""), "this system has another C library"),
    ],
)
def test_a_platform_without_an_embedded_postgresql_is_refused(
    system: str, machine: str, libc: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(LocalError, match=message):
        bootstrap.require_platform()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("error: dns error: failed to lookup address", "The Python package index cannot be reached"),
        (
            "ERROR: Could not find a version … (from versions: none)",
            "The Python package index cannot be reached",
        ),
        ("OSError: [Errno 28] No space left on device", "The disk that holds .* is full"),
        ("something else\n\n", "Setting up failed: something else; see .*setup.log"),
    ],
)
def test_a_failed_step_is_told_in_one_sentence(output: str, message: str, folder: Path) -> None:
    fail = ["sh", "-c", 'printf "%s" "$1"; exit 1', "sh", output]
    with (folder / "lock").open("w") as lock, pytest.raises(LocalError, match=message) as failed:
        bootstrap.run_step(fail, dict(os.environ), lock.fileno())
    assert "\n" not in str(failed.value)


def test_an_environment_is_complete_only_with_the_stamp_of_this_lock_and_python(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.VENV.mkdir()
    assert not bootstrap.is_complete(bootstrap.STAMP, bootstrap.LOCK)
    bootstrap.STAMP.write_text(bootstrap.wanted_stamp(bootstrap.LOCK))
    assert bootstrap.is_complete(bootstrap.STAMP, bootstrap.LOCK)
    changed = folder / "requirements.lock"
    changed.write_text(bootstrap.LOCK.read_text() + "# changed\n")
    monkeypatch.setattr(bootstrap, "LOCK", changed)
    assert not bootstrap.is_complete(bootstrap.STAMP, bootstrap.LOCK)


def test_the_browsers_tools_are_added_once_and_again_when_their_lock_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[str] = []
    monkeypatch.setattr(bootstrap, "run_step", lambda command, *_: added.append(str(command[-1])))
    monkeypatch.setattr(bootstrap, "read_pip_settings", dict)
    lock = folder / "browser.lock"
    lock.write_text("one\n")
    monkeypatch.setattr(bootstrap, "BROWSER_LOCK", lock)
    bootstrap.VENV.mkdir()
    for _ in range(2):
        bootstrap.ensure_browser_tools()
    assert added == [str(lock)]
    lock.write_text("two\n")
    bootstrap.ensure_browser_tools()
    assert added == [str(lock)] * 2


def test_an_interrupted_setup_is_made_again_from_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bootstrap.VENV / "half").mkdir(parents=True)
    steps: list[str] = []
    monkeypatch.setattr(bootstrap, "run_step", lambda command, *_: steps.append(str(command[2])))
    monkeypatch.setattr(bootstrap, "read_pip_settings", dict)
    monkeypatch.setattr(bootstrap, "PYTHON", folder / "python")
    with pytest.raises(FileNotFoundError):  # nothing was installed, so there is no folder to put the stamp into
        bootstrap.ensure_venv()
    assert len(steps) == 3
    assert not (bootstrap.VENV / "half").exists()


@pytest.mark.parametrize(
    ("environment", "pip", "expected"),
    [
        ({"SSL_CERT_FILE": "/own"}, {}, {"SSL_CERT_FILE": "/own", "PIP_CERT": "/own"}),
        ({"REQUESTS_CA_BUNDLE": "/own"}, {}, {"SSL_CERT_FILE": "/own", "PIP_CERT": "/own"}),
        ({}, {"cert": "/own"}, {"SSL_CERT_FILE": "/own", "PIP_CERT": "/own"}),
        ({}, {"index-url": "https://mirror/simple"}, {"UV_DEFAULT_INDEX": "https://mirror/simple"}),
        ({"UV_DEFAULT_INDEX": "https://a"}, {"index-url": "https://b"}, {"UV_DEFAULT_INDEX": "https://a"}),
        (
            {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/x"},
            {},
            {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPATH": None},
        ),
    ],
)
def test_what_the_user_set_for_one_installer_counts_for_both(
    environment: dict[str, str],
    pip: dict[str, str],
    expected: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    used = bootstrap.installer_environment(pip)
    assert {name: used.get(name) for name in expected} == expected


def test_a_mistake_on_the_command_line_is_answered_without_setting_anything_up(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    (copy / "local").mkdir(parents=True)
    for source in (ROOT / "local").glob("*.py"):
        (copy / "local" / source.name).write_text(source.read_text())
    command = [sys.executable, "-I", str(copy / "local" / "bootstrap.py"), "run"]
    for arguments, status in ((["missing.db"], 2), (["--nonsense"], 2), (["--help"], 0), (["stop"], 0)):
        assert subprocess.run([*command, *arguments], capture_output=True).returncode == status
    assert not (copy / ".local").exists()
