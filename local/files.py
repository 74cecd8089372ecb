"""Small files that several processes share: locks, and secrets that only their owner may read."""

import fcntl
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"


class LocalError(Exception):
    """One sentence for the person at the terminal; `status` is the exit code it ends with."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def told_in_one_sentence(command: str) -> Iterator[None]:
    """End the process with a sentence and an exit code instead of a traceback."""
    try:
        yield
    except LocalError as error:
        print(f"./{command}: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)


def require_folder(path: Path) -> Path:
    """The folder, made if absent; a LocalError when this user may not write there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"{path} cannot be made ({error.strerror}); this folder must be writable.") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise LocalError(f"{path} is not writable for this user; give it to this user or use a copy of one's own.")
    return path


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[int]:
    """Hold an exclusive lock on `path`; it ends with the process, so a killed holder blocks nobody.

    Yields the descriptor: a child that inherits it keeps the lock for as long as it lives.
    `waiting` is called once when another process holds it; if that raises, the lock is not waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise LocalError(f"{path} belongs to another user; run as that user or remove it.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file that only its owner can read; readers see the old text or the new, whole."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


class Secrets:
    """Passwords and keys of this checkout, each generated when first asked for and the same ever after."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str, generate: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
        with locked(self.path.with_suffix(".lock")):
            known: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
            if name not in known:
                known[name] = generate()
                write_private(self.path, json.dumps(known, indent=1))
            return known[name]
