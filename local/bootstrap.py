"""First step of ./run, ./test and ./bench, in any bare Python 3.11 to 3.13: makes the virtual environment.

It lies in .local/venv-<version> and holds exactly requirements.lock. A stamp in it says that it is complete:
later starts go straight on, and one that was interrupted has no stamp and is made again. What only the tests in a
browser need is added when they are asked for.
"""

import ast
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # started as a script, isolated (-I)

from local import arguments
from local.files import LOCAL, ROOT, LocalError, locked, require_folder, told_in_one_sentence

LOCK = ROOT / "requirements.lock"
VENV = LOCAL / f"venv-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = VENV / "bin" / "python"
LOG = LOCAL / "setup.log"
STAMP = VENV / "complete"
BROWSER_LOCK = ROOT / "tests" / "browser" / "requirements.lock"
WHEELS = ("--require-hashes", "--only-binary", ":all:")  # nothing is compiled here
UV = (PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--compile-bytecode")
# What pip and uv say when they cannot get through, as opposed to a package that does not exist.
OFFLINE = re.compile(
    r"dns error|name resolution|error sending request|connection (refused|broken|reset)|timed out"
    r"|NewConnectionError|ProxyError|from versions: none|certificate",
    re.IGNORECASE,
)


def require_platform() -> None:
    """The embedded PostgreSQL is built for these platforms and no others."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise LocalError(
            f"./run and ./test need Linux on x86_64 or aarch64 (this is {sys.platform} on {machine}): "
            "the embedded PostgreSQL is built for nothing else."
        )
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < (2, 34):
        raise LocalError(
            f"./run and ./test need glibc 2.34 or newer (this system has {library or 'another C library'} "
            f"{version}): the embedded PostgreSQL is built for it."
        )


def wanted_stamp(lock: Path) -> str:
    """Changes with the lock, the Python, and the place: a moved or upgraded environment is made again."""
    interpreter = f"{sys.version}\n{sys.base_prefix}\n{VENV}\n"
    return hashlib.sha256(interpreter.encode() + lock.read_bytes()).hexdigest()


def is_complete(stamp: Path, lock: Path) -> bool:
    return stamp.exists() and stamp.read_text() == wanted_stamp(lock)


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would lead this Python, its bytecode or its packages elsewhere.

    Without compiled bytecode every Airflow process starts 4.4 s of CPU later (7 s instead of 2.6 s).
    """
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def installer_environment(pip_settings: dict[str, str]) -> dict[str, str]:
    """One view of package index and certificate authorities for pip and uv, which read different settings.

    Whatever the user set for either counts for both; otherwise the system's own store of authorities, so that
    a network with an authority of its own works; without such a store each uses what it brings.
    """
    environment = clean_environment()
    system_stores = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    authorities = (
        environment.get("SSL_CERT_FILE")
        or pip_settings.get("cert")
        or environment.get("REQUESTS_CA_BUNDLE")
        or next((store for store in system_stores if os.path.exists(store)), None)
    )
    if authorities:
        environment.setdefault("SSL_CERT_FILE", authorities)
        environment.setdefault("PIP_CERT", pip_settings.get("cert", authorities))
    if "index-url" in pip_settings and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        environment["UV_DEFAULT_INDEX"] = pip_settings["index-url"]
    if not os.access(Path.home(), os.W_OK) and "UV_CACHE_DIR" not in environment:
        environment["UV_CACHE_DIR"] = str(LOCAL / "cache")
    return environment


def read_pip_settings() -> dict[str, str]:
    """What pip was told by file or environment, by option name."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, env=clean_environment()
    )
    settings = {}
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):  # the last one wins
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = ast.literal_eval(value)
    return settings


def lock_entry(package: str) -> str:
    """The lines of one package in the lock: its version and hashes."""
    entry = re.search(rf"^{package}==.*\n(    --hash.*\n)+", LOCK.read_text(), re.MULTILINE)
    if not entry:
        raise LocalError(f"{LOCK.name} has no entry for {package}; compile it anew as its first lines say.")
    return entry.group()


def run_step(command: Sequence[str | Path], environment: dict[str, str], lock: int) -> None:
    """Run one step, its output kept in .local/setup.log. It holds the setup's lock while it lives."""
    with LOG.open("a") as log:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=[lock]
        )
    if ended.returncode == 0:
        return
    output = LOG.read_text(errors="replace")
    if "ensurepip" in output and "venv" in command:
        raise LocalError(
            "This Python's venv module does not work; install it (Debian, Ubuntu: apt install python3-venv)."
        )
    if "No space left" in output:
        raise LocalError(f"The disk that holds {LOCAL} is full; setting up needs 1.5 GB.")
    if OFFLINE.search(output):
        raise LocalError(f"The Python package index cannot be reached, and setting up needs it once; see {LOG}.")
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    raise LocalError(f"Setting up failed: {last.strip()}; see {LOG}.")


def make_venv(lock: int) -> None:
    LOG.write_text("")
    shutil.rmtree(VENV, ignore_errors=True)
    run_step([sys.executable, "-I", "-m", "venv", VENV], clean_environment(), lock)
    environment = installer_environment(read_pip_settings())
    uv_only = LOCAL / "uv.lock"
    uv_only.write_text(lock_entry("uv"))
    pip = (PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2")
    run_step([*pip, *WHEELS, "-r", uv_only], environment, lock)
    run_step([*UV, *WHEELS, "-r", LOCK], environment, lock)
    uv_only.unlink()
    STAMP.write_text(wanted_stamp(LOCK))


def ensure_venv() -> None:
    """Make the virtual environment unless it is complete. Starts at the same time wait for one another."""
    if is_complete(STAMP, LOCK):
        return
    require_folder(LOCAL)
    wait = lambda: print("Waiting for another ./run or ./test that is setting up here …", flush=True)  # noqa: E731
    with locked(LOCAL / "setup.lock", wait) as lock:
        if is_complete(STAMP, LOCK):
            return
        began = time.monotonic()
        print("Setting up Python packages in .local (once; up to two minutes on a first start) …", flush=True)
        make_venv(lock)
        print(f"Set up in {time.monotonic() - began:.0f} s.", flush=True)


def ensure_browser_tools() -> None:
    """Add what drives a browser, once. It is 46 MB that nothing else needs."""
    stamp = VENV / "complete-browser"
    if is_complete(stamp, BROWSER_LOCK):
        return
    with locked(LOCAL / "setup.lock", lambda: None) as lock:
        run_step([*UV, *WHEELS, "-r", BROWSER_LOCK], installer_environment(read_pip_settings()), lock)
    stamp.write_text(wanted_stamp(BROWSER_LOCK))


def main() -> None:
    tool, *rest = sys.argv[1:]
    if tool == "run":
        options = arguments.parse(rest)  # a mistake in the command shall not wait for the setup
        if options.command == "stop" and not LOCAL.exists():
            print("Nothing was running.")
            return
    require_platform()
    ensure_venv()
    if tool == "test" and any("tests/browser" in argument for argument in rest):
        ensure_browser_tools()
    environment = clean_environment() | {"PYTHONPATH": f"{ROOT / 'include'}{os.pathsep}{ROOT}"}
    os.execve(PYTHON, [str(PYTHON), "-P", "-m", "local.command", tool, *rest], environment)


if __name__ == "__main__":
    with told_in_one_sentence(sys.argv[1]):
        main()
