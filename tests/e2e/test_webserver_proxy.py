"""The hole of the Dagster web server is real, and the shipped nginx configuration closes it: both programs are the real ones."""

import base64
import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.loopback import free_port

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "deploy" / "nginx" / "dagster.conf"
MUTATION = "mutation { setNuxSeen }"
START_S = 90.0
ADA = ("ada", "correct horse")


@dataclass(frozen=True)
class Served:
    """A web server, and the proxy before it."""

    webserver: str
    proxy: str

    @property
    def origin(self) -> str:
        return self.proxy


def nginx_path() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("no nginx on this machine (Debian: apt-get install nginx-light)")
    return found


@contextmanager
def running(command: list[str], url: str, log: Path, environ: dict[str, str]) -> Iterator[None]:
    """The process, answering at url, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environ})
    try:
        until_s = time.monotonic() + START_S
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.TransportError:
                process_waits(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def process_waits(duration_s: float) -> None:
    time.sleep(duration_s)  # for a program of others that says nothing when it is ready


def htpasswd(user: str, password: str) -> str:
    return f"{user}:{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    nginx, folder = nginx_path(), tmp_path_factory.mktemp("proxy")
    inner, outer = free_port(), free_port()
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (folder / "htpasswd").write_text(htpasswd(*ADA))
    shipped = CONFIGURATION.read_text()
    for old, new in (("3080", str(outer)), ("127.0.0.1:3000", f"127.0.0.1:{inner}"), ("/etc/nginx/dagster.htpasswd", f"{folder}/htpasswd")):
        assert old in shipped
        shipped = shipped.replace(old, new)
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"{user} worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{shipped}\n}}\n"
    )
    webserver = [str(Path(sys.executable).parent / "dagster-webserver"), "-p", str(inner), "--empty-workspace"]
    home = {"DAGSTER_HOME": str(folder / "home")}
    with (
        running(webserver, f"http://127.0.0.1:{inner}/server_info", folder / "webserver.log", home),
        running([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], f"http://127.0.0.1:{outer}/", folder / "nginx.log", {}),
    ):
        yield Served(f"http://127.0.0.1:{inner}", f"http://127.0.0.1:{outer}")


def ask(url: str, **more: object) -> httpx.Response:
    given = {"headers": {}, "auth": None, "method": "GET", **more}
    return httpx.request(url=url, trust_env=False, **given)  # type: ignore[arg-type]


def mutate(served: Served, **more: object) -> httpx.Response:
    """The mutation as the pages send it."""
    return ask(f"{served.proxy}/graphql", **{"method": "POST", "json": {"query": MUTATION}, "auth": ADA, **more})


def handshake(served: Served, *headers: str) -> bytes:
    """The status line that a websocket's request gets."""
    host, port = served.proxy.removeprefix("http://").split(":")
    lines = ["GET /graphql HTTP/1.1", f"host: {host}:{port}", "upgrade: websocket", "connection: Upgrade", *headers]
    lines += ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13", "sec-websocket-protocol: graphql-ws", "", ""]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(64).split(b"\r\n")[0]


BASIC = "authorization: Basic " + base64.b64encode(":".join(ADA).encode()).decode()
EVIL = "https://evil.example"


def test_without_the_proxy_a_get_of_any_page_runs_mutations(served: Served) -> None:
    answer = ask(f"{served.webserver}/graphql", params={"query": MUTATION}, headers={"origin": EVIL, "accept": "*/*"})
    assert answer.json() == {"data": {"setNuxSeen": True}}
    form = ask(f"{served.webserver}/graphql", method="POST", params={"query": MUTATION}, headers={"origin": EVIL}, data={"a": "b"})
    assert form.json() == {"data": {"setNuxSeen": True}}


def test_nobody_comes_in_without_the_password(served: Served) -> None:
    for auth in (None, ("ada", "wrong"), ("eve", "correct horse")):
        assert ask(f"{served.proxy}/", auth=auth).status_code == 401
        assert ask(f"{served.proxy}/server_info", auth=auth).status_code == 401
        assert mutate(served, auth=auth).status_code == 401
        assert ask(f"{served.proxy}/report_asset_materialization/a", method="POST", auth=auth).status_code in (401, 403)


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/%67raphql", "//graphql", "/./graphql", "/x/../graphql"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_graphql_is_asked_by_post_only(served: Served, path: str, method: str) -> None:
    answer = ask(f"{served.proxy}{path}", method=method, params={"query": MUTATION}, auth=ADA, headers={"accept": "*/*"})
    assert answer.status_code in (403, 405)
    assert b"setNuxSeen" not in answer.content


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1", "http://127.0.0.1:1", "https://{here}", "http://{here}.evil.example"])
def test_no_other_page_is_answered_even_with_the_password(served: Served, origin: str) -> None:
    origin = origin.format(here=served.proxy.removeprefix("http://"))
    assert mutate(served, headers={"origin": origin}).status_code == 403
    assert ask(f"{served.proxy}/server_info", auth=ADA, headers={"origin": origin}).status_code == 403
    assert b"403" in handshake(served, BASIC, f"origin: {origin}")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/graphql", ""]
)
def test_what_a_form_can_send_is_not_taken(served: Served, kind: str) -> None:
    answer = ask(
        f"{served.proxy}/graphql", method="POST", params={"query": MUTATION}, auth=ADA, content=b"x", headers={"content-type": kind}
    )
    assert answer.status_code == 415


def test_another_name_for_this_address_is_not_answered(served: Served) -> None:
    assert mutate(served, headers={"host": "evil.example"}).status_code == 421


def test_whoever_logs_in_works_as_usual(served: Served) -> None:
    page = ask(f"{served.proxy}/runs", auth=ADA, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "<html" in page.text
    assert page.headers["x-frame-options"].upper() == "DENY"
    assert ask(f"{served.proxy}/server_info", auth=ADA).json()["dagster_webserver_version"]
    for headers in ({}, {"origin": served.origin}):
        assert mutate(served, headers=headers).json() == {"data": {"setNuxSeen": True}}
    assert b"101" in handshake(served, BASIC, f"origin: {served.origin}")
    assert b"401" in handshake(served, f"origin: {served.origin}")


def test_the_table_of_the_readme_names_what_is_tested() -> None:
    text = (ROOT / "deploy" / "README.md").read_text()
    assert {"401", "403", "405", "421"} <= set(text.replace("|", " ").split())
    assert json.dumps("deploy/nginx/dagster.conf").strip('"') in text
