"""A project between two emulated Celigo accounts, in the US and in the EU, and the command line run in it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.celigo.demo import key_pair
from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import Store
from tests.e2e.commandline import ROOT, CommandLine
from tests.loopback import serving

README = (ROOT / "connectors" / "celigo" / "README.md").read_text(encoding="utf-8")
CONNECTIONS, SYNC, FIELDS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
SECRETS = {f"AWS_SECRET_{n}": key_pair(n)[1] for n in range(3)}


@dataclass
class Accounts(CommandLine):
    """`us` and `eu` are the accounts seen from behind."""

    folder: Path
    us: Store
    eu: Store
    environ: dict[str, str]

    def sync(self, text: str = SYNC) -> None:
        """Write the README's sync, or another one."""
        self.write("pipelines/defs/celigo_us_to_eu/defs.yaml", text)

    def writes(self) -> list[tuple[str, str]]:
        """What was written to the EU: method and path."""
        return [(one["method"], one["path"]) for one in self.eu.log if one["method"] != "GET"]


@contextmanager
def accounts(folder: Path, connections: str = CONNECTIONS, **counts: Any) -> Iterator[Accounts]:
    """The README's connections to two accounts; the one in the EU is empty."""
    us, eu = Store(seed=1, **counts), Store(seed=2, servers=0, lambdas=0)
    us.token, eu.token = "canary-token-us-31", "canary-token-eu-32"
    with ExitStack() as stack:
        us_url, eu_url = (stack.enter_context(serving(create_app(store))) for store in (us, eu))
        environ = {"CELIGO_US_TOKEN": us.token, "CELIGO_EU_TOKEN": eu.token, **SECRETS, "CROSSDOCK_HOME": str(folder / ".crossdock")}
        made = Accounts(folder, us, eu, environ)
        text = connections.replace("base_url: https://api.eu.integrator.io", f"base_url: {eu_url}")
        made.write(
            "connections.yaml",
            text.replace(
                "connector: celigo\n    token: ${CELIGO_US", f"connector: celigo\n    base_url: {us_url}\n    token: ${{CELIGO_US"
            ),
        )
        made.write("secrets/aws-2", SECRETS["AWS_SECRET_2"] + "\n")
        made.sync()
        yield made
