"""Airflow's REST API as ./run needs it: one logged-in client on loopback."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from local.files import LocalError

# A proxy set for the outside world must not see, or fail, requests to this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
PATIENCE = 60  # seconds that a busy API server may leave a read unanswered
PAUSE = 1.0


class ApiError(LocalError):
    """The API's answer when it is no success."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"Airflow's API answered {status}: {detail}")
        self.status = status


class Api:
    """Calls with the token of one user; a token that ran out is renewed."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self.address = address
        self._login = {"username": user, "password": password}
        self._token: str | None = None

    def get(self, path: str, **query: str | int) -> Any:
        """Read; repeated while the server is too busy to answer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._call("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LocalError(f"Airflow's API server does not answer any more: {error}.") from error
                time.sleep(PAUSE)

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", path, body)

    def pages(self, path: str, field: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """Every item of a collection, however many pages it takes."""
        seen = 0
        while True:
            page = self.get(path, limit=100, offset=seen, **query)
            yield from page[field]
            seen += len(page[field])
            if seen >= page["total_entries"] or not page[field]:
                return

    def healthy(self) -> bool:
        """Whether the server answers; needs no token."""
        try:
            return bool(self._send("GET", "/api/v2/monitor/health", None)["metadatabase"]["status"] == "healthy")
        except (OSError, ApiError):
            return False

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        if self._token:
            try:
                return self._send(method, f"/api/v2{path}", body)
            except ApiError as error:
                if error.status != 401:
                    raise
        self._token = self._send("POST", "/auth/token", self._login)["access_token"]
        return self._send(method, f"/api/v2{path}", body)

    def _send(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(self.address + path, method=method)
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with _open(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")[:500]) from error


def quoted(part: str) -> str:
    """One segment of a path."""
    return urllib.parse.quote(part, safe="")
