"""What README.md and docs show to type is typed, in order, in a checkout, and prints what they show. Nothing leaves this machine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml

from connectors.robostack import CONNECTOR as ROBOSTACK
from connectors.stacker import CONNECTOR as STACKER
from pipelines.runtime import CONNECTORS
from pipelines.sandbox import running
from tests.e2e.commandline import contact, project
from tests.house.sources import ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.readme import Block, blocks, pattern_of, steady

FILES = ("Makefile", "pyproject.toml", "requirements.lock", "requirements-bench.lock", "connections.yaml", "dagster.yaml", "workspace.yaml")
ADDRESSES = {"https://api.go.stackerhq.com": "STACKER_URL", "https://api.robostack.ai": "ROBOSTACK_URL"}
ACCOUNT = {
    "CRM_KEY": STACKER.demo["integration_key"],
    "CRM_STACK": STACKER.demo["stack_id"],
    "CRM_ACCOUNT": STACKER.demo["account_id"],
    "APP_KEY": ROBOSTACK.demo["api_key"],
    "APP_SECRET": ROBOSTACK.demo["api_secret"],
    "APP_UUID": ROBOSTACK.demo["app_uuid"],
}
NO_NETWORK = {"PIP_NO_INDEX": "1", "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH"),
    pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not run from a virtual environment"),
]


class Checkout:
    """The project's files in a folder whose name has spaces, with the environment that runs the tests instead of one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / ".crossdock"
        for name in ("pipelines", "connectors", ".ci"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        environment = folder / ".venv"
        environment.mkdir()
        for part in Path(sys.prefix).iterdir():
            if not part.name.startswith(".installed"):
                (environment / part.name).symlink_to(part)
        urls = dict(zip((f"{name.upper()}_URL" for name in CONNECTORS), _free_addresses(), strict=True))
        path = os.pathsep.join([str(environment / "bin"), "/usr/local/bin", "/usr/bin", "/bin", os.environ["PATH"]])
        self.environ = {"PATH": path, "HOME": str(folder), "PYTHONPATH": str(folder), "LANG": "C.UTF-8", **urls, **ACCOUNT, **NO_NETWORK}
        (stamp,) = re.findall(r"^STAMP := (\S+)$", self.run("make", "-pn", "help"), re.MULTILINE)
        (folder / stamp).touch()

    def run(self, *command: str) -> str:
        """What a command prints. It must end well."""
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stdout
        return ended.stdout.replace(str(self.folder), "…")

    def write(self, block: Block) -> None:
        """Put a block of YAML where its first line says; connections are added to those that are there, at the emulators' addresses."""
        path = self.folder / block.text.split("\n", 1)[0].removeprefix("# ")
        if path.name == "connections.yaml":
            added = block.text.partition("connections:\n")[2]
            for address, variable in ADDRESSES.items():
                assert address in added
                added = added.replace(address, self.environ[variable])
            path.write_text(path.read_text() + "\n" + added)
        elif path.exists():
            assert yaml.safe_load(block.text) == yaml.safe_load(path.read_text()), f"{block.where}: {path.name} says otherwise"
        else:
            path.parent.mkdir()
            path.write_text(block.text)


def _free_addresses() -> list[str]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in CONNECTORS]
        return [f"http://127.0.0.1:{probe.getsockname()[1]}" for probe in probes]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    folder = tmp_path / "cross dock"
    folder.mkdir()
    made = Checkout(folder)
    yield made
    if (made.home / "sandbox").is_dir():
        made.run("crossdock", "sandbox", "--stop")


def with_what_was_printed(typed: str, printed: str) -> str:
    """The commands with the digest that was last offered for approval, and the id of the last run, in place of the README's."""
    for shown, found in (
        (r"(?<=--approve )[0-9a-f]{12}", r"--approve ([0-9a-f]{12})"),
        (r"(?<=undo )[0-9a-f]{8}", r"^ +run +([0-9a-f]{8})"),
    ):
        if re.search(shown, typed):
            typed = re.sub(shown, re.findall(found, printed, re.MULTILINE)[-1], typed)
    return typed


def test_every_command_of_the_readme_prints_what_it_shows(checkout: Checkout) -> None:
    printed = ""
    typed = [block for block in blocks() if block.text != "make dev\n"]
    assert sum(block.shown is not None for block in typed) >= 9
    for block in typed:
        if block.language == "yaml":
            checkout.write(block)
            continue
        assert block.language == "sh", f"{block.where} has no language that is tested"
        just = checkout.run("sh", "-ec", with_what_was_printed(block.text, printed))
        printed += just
        if block.shown is not None:
            assert pattern_of(block.shown).fullmatch(steady(just)), f"{block.where} shows\n{block.shown}\nbut it printed\n{just}"


def test_make_dev_serves_the_pages_and_ctrl_c_leaves_nothing_running(checkout: Checkout, free_port: int) -> None:
    assert [block.language for block in blocks() if block.text == "make dev\n"] == ["sh"]
    command = ["make", "dev", f"PORT={free_port}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=checkout.folder, env=checkout.environ, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Serving dagster-webserver" in line:
                break
        assert process.poll() is None, "".join(said)
        assert len(running(checkout.home / "sandbox")) == len(CONNECTORS)
        with httpx.Client(transport=httpx.HTTPTransport(retries=7), trust_env=False, timeout=60) as pages:  # it says so before it listens
            assert pages.get(f"http://127.0.0.1:{free_port}/server_info").status_code == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=120)
    assert running(checkout.home / "sandbox") == []


def test_make_test_is_the_whole_of_it(checkout: Checkout) -> None:
    planned = checkout.run("make", "-n", "test")
    for part in ("ruff check", "mypy", "lint-imports", "-m pytest"):
        assert part in planned


def test_a_setup_without_network_or_python_says_so_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("no-such-package==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    environ = {**os.environ, **NO_NETWORK, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}

    def install(python: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(ROOT / ".ci" / "install"), "requirements.lock", python]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)

    for python, words in (("", "Crossdock needs Python 3.11 to 3.14"), (sys.executable, "the packages were not all installed, see")):
        ended = install(python)
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith(words), ended.stderr
    assert "no-such-package" in (tmp_path / ".venv" / "install.log").read_text()


def test_a_move_to_postgres_recognises_what_is_there_and_writes_nothing(tmp_path: Path, postgres_url: str) -> None:  # noqa: F811
    with project(tmp_path) as made:
        made.contacts(contact(1), contact(2))
        assert made.json("run", "c2p")["created"] == 2
        made.environ |= {"CROSSDOCK_LEDGER": postgres_url, "CROSSDOCK_STAGING": postgres_url}
        moved = made.json("run", "c2p", "--full")
        assert (moved["status"], moved["unchanged"], moved["requests"]["sink"]["write"]) == ("ok", 2, 0)
        made.contacts(contact(1, name="Changed"), contact(2))
        assert made.json("run", "c2p")["updated"] == 1
