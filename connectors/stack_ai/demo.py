"""Demo data of the Stack AI emulator, the same for the same seed. Pure, standard library only.

Connections of a company to the tools it works with, who may use them, and the trees of folders and files behind some.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

PROVIDERS = (
    ("slack", "oauth2", "Slack", ("bot_token", "workspace")),
    ("gdrive", "oauth2", "Google Drive", ("refresh_token", "account")),
    ("notion", "api_key", "Notion", ("api_key",)),
    ("sharepoint", "oauth2", "SharePoint", ("refresh_token", "tenant")),
    ("postgres", "credentials", "PostgreSQL", ("host", "password", "user")),
    ("hubspot", "api_key", "HubSpot", ("api_key",)),
)
WITH_RESOURCES = ("gdrive", "notion", "sharepoint")
ROLES = ("viewer", "editor", "admin")
_TEAMS = ("Sales", "Einkauf", "Finance & Tax", "Größen/Maße", "営業部", "R&D", "Support „EU“", "Lager Łódź", "הנהלה", "Ops 🚚")
_FOLDERS = ("Contracts", "Rechnungen 2025", "写真", "Q3 / draft", "Archiv", "Onboarding")
_FILES = ("report.pdf", "Übersicht.xlsx", "見積書.docx", "notes (1).txt", 'plan "B".pptx', "data.csv")


def available() -> list[dict[str, Any]]:
    """The connection types there are."""
    return [
        {
            "provider_id": provider,
            "connection_type_id": kind,
            "name": name,
            "parameters": [{"name": field, "type": "string", "required": True} for field in fields],
        }
        for provider, kind, name, fields in PROVIDERS
    ]


def connections(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Connections in the order they were made, each with its grants and the role of everyone in the organization."""
    rng = random.Random(f"{seed}/connections")  # noqa: S311
    people = [new_id(rng) for _ in range(12)]
    start = datetime(2025, 1, 6, 9, tzinfo=UTC)
    for n in range(count):
        provider, kind, name, fields = PROVIDERS[n % len(PROVIDERS)]
        team = _TEAMS[n % len(_TEAMS)]
        number = f" {n // len(_TEAMS) + 1}" if n >= len(_TEAMS) else ""
        yield {
            "id": new_id(rng),
            "name": f"{name} {team}{number}",
            "provider_id": provider,
            "connection_type_id": kind,
            "connection_provider_data": {field: f"demo-{field}-{n}" for field in fields},
            "created_at": (start + timedelta(hours=7 * n)).isoformat(),
            "organization_role": rng.choice((None, "viewer")),
            "grants": {
                f"{subject}/{person}": rng.choice(ROLES)
                for subject, person in ((rng.choice(("user", "user", "group")), person) for person in rng.sample(people, rng.randint(0, 4)))
            },
        }


def resources(seed: str, count: int) -> Iterator[dict[str, Any]]:
    """So many folders and files of one connection, parents before their children. `parent` is None at the root."""
    rng = random.Random(f"{seed}/resources")  # noqa: S311
    folders: list[str | None] = [None]
    for n in range(count):
        folder = n < 3 or rng.random() < 0.15
        parent = rng.choice(folders[-40:] if rng.random() < 0.7 else folders)
        made = new_id(rng)
        name = f"{rng.choice(_FOLDERS)} {n}" if folder else f"{n:05d} {rng.choice(_FILES)}"
        yield {"id": made, "parent": parent, "folder": folder, "name": name, "size": None if folder else rng.randint(0, 5_000_000)}
        if folder:
            folders.append(made)


def new_id(rng: random.Random) -> str:
    """A random UUID of version 4."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[rng.getrandbits(2)]}{digits[17:20]}-{digits[20:]}"
