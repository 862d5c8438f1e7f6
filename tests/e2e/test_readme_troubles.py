"""Every message in docs/troubleshooting.md is one that is really said, and every trouble tried here stands there."""

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.commandline import Project, contact, project
from tests.house.sources import ROOT
from tests.readme import PAGES, steady

QUOTED = re.findall(r"^> `(.+)`$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
INSTALL = (ROOT / ".ci" / "install").read_text().replace("$log", ".venv/install.log")
SET_UP = [quoted for quoted in QUOTED if quoted.removesuffix("…").strip() in INSTALL]  # these are tried in test_readme.py

CRM = """
  crm:
    connector: stacker
    base_url: ${HERE_URL}
    integration_key: ${CRM_KEY}
    stack_id: stk_demo
"""


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("troubles")) as made:
        made.sync("contacts_to_people")
        yield made


def said(here: Project, *command: str) -> str:
    ended = here.run(*command)
    assert ended.status != 0, ended
    return ended.err + ended.out


def emulators_down(here: Project) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here.environ["HERE_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return said(here, "run", "contacts_to_people")


def port_taken(here: Project) -> str:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        here.environ["STACKER_URL"] = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        return said(here, "sandbox", "--background")


def variable_missing(here: Project) -> str:
    here.write("connections.yaml", (here.folder / "connections.yaml").read_text() + CRM)
    return said(here, "streams", "crm")


def key_refused(here: Project) -> str:
    here.environ["HERE_KEY"] = "wrong"
    return said(here, "run", "contacts_to_people")


def key_misspelt(here: Project) -> str:
    text = "type: pipelines.components.SyncComponent\nattributes:\n  form: here.contacts\n  to: there.people\n  match: [email]\n"
    here.write("pipelines/defs/other/defs.yaml", text)
    return said(here, "plan", "other")


def mirror_by_increments(here: Project) -> str:
    here.sync("other", mode="mirror", read={"mode": "incremental", "cursor": "updated_at"})
    return said(here, "plan", "other")


def key_shared(here: Project) -> str:
    here.contacts(contact(1), contact(1, name="Twin"))
    return said(here, "run", "contacts_to_people")


def cell_unfit(here: Project) -> str:
    here.contacts(contact(1, score="n/a"))
    return said(here, "run", "contacts_to_people")


def many_deleted(here: Project) -> str:
    here.sync("other", mode="mirror")
    here.contacts(*(contact(n) for n in range(4)))
    assert here.run("run", "other").status == 0
    here.contacts(contact(0))
    return said(here, "run", "other")


def other_approved(here: Project) -> str:
    here.sync("other", limits={"create_count": 0})
    here.contacts(contact(1))
    return said(here, "run", "other", "--approve", "0" * 12)


def sync_misspelt(here: Project) -> str:
    return said(here, "plan", "contact_to_people")


TROUBLES: tuple[Callable[[Project], str], ...] = (
    emulators_down,
    port_taken,
    variable_missing,
    key_refused,
    key_misspelt,
    mirror_by_increments,
    key_shared,
    cell_unfit,
    many_deleted,
    other_approved,
    sync_misspelt,
)


def named(here: Project, output: str) -> set[str]:
    """The quoted messages that the output holds, the platform's address there being the page's."""
    text = steady(output)
    return {quoted for quoted in QUOTED if re.search(re.escape(steady(quoted).strip()).replace("…", ".*"), text)}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_a_trouble_says_what_the_page_quotes(here: Project, trouble: Callable[[Project], str]) -> None:
    output = trouble(here)
    assert len(named(here, output)) == 1, output


def test_every_quoted_message_is_tried() -> None:
    assert len(QUOTED) == len(set(QUOTED)) == len(TROUBLES) + len(SET_UP)
    assert len(SET_UP) == 2
