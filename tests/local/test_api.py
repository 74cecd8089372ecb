"""The REST client, against a server that behaves as Airflow's does on a bad day."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from local import api
from local.api import Api, ApiError

Answer = tuple[int, Any]


class Server(ThreadingHTTPServer):
    """Answers with `respond(method, path, token)`; status 0 hangs up. Gives out tokens 1, 2, …"""

    respond: Callable[[str, str, str], Answer]
    logins: list[Any]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"null")
        if self.path == "/auth/token":
            self.server.logins.append(body)
            status, answer = 201, {"access_token": str(len(self.server.logins))}
        else:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = self.server.respond(self.command, self.path, token)
        if status:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST = do_PATCH = _handle

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.logins = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(server: Server) -> Api:
    return Api(f"http://127.0.0.1:{server.server_port}", "admin", "secret")


def test_a_token_that_ran_out_is_renewed(server: Server, client: Api) -> None:
    server.respond = lambda method, path, token: (200, token)
    assert client.get("/dags") == "1"
    server.respond = lambda method, path, token: (200, token) if token == "2" else (401, "expired")
    assert client.get("/dags") == "2"
    assert server.logins == [{"username": "admin", "password": "secret"}] * 2


def test_a_login_that_does_not_help_is_an_error(server: Server, client: Api) -> None:
    server.respond = lambda method, path, token: (401, "never")
    with pytest.raises(ApiError, match="401"):
        client.get("/dags")


def test_every_page_of_a_collection_is_read(server: Server, client: Api) -> None:
    everything = [{"dag_id": str(number)} for number in range(250)]

    def respond(method: str, path: str, token: str) -> Answer:
        offset = int(path.partition("offset=")[2])
        return 200, {"dags": everything[offset : offset + 100], "total_entries": 250}

    server.respond = respond
    assert list(client.pages("/dags", "dags")) == everything


def test_a_read_is_repeated_while_the_server_is_too_busy(
    server: Server, client: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAUSE", 0.01)
    asked: list[str] = []

    def respond(method: str, path: str, token: str) -> Answer:
        asked.append(path)
        return (200, "at last") if len(asked) == 3 else (0, None)

    server.respond = respond
    assert client.get("/dags") == "at last"


def test_a_proxy_for_the_outside_world_is_not_asked(
    server: Server, client: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.respond = lambda method, path, token: (200, "direct")
    assert client.post("/dags", {}) == "direct"


def test_a_refusal_carries_the_servers_words(server: Server, client: Api) -> None:
    server.respond = lambda method, path, token: (409, {"detail": "run exists"})
    with pytest.raises(ApiError, match="409.*run exists"):
        client.post("/dags/d/dagRuns", {})
