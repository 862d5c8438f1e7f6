"""Demo data of the Stacker emulator: one small business, the same for the same seed. Pure, standard library only.

`demo(...)` gives {object api_name: records without sid}. Money is Decimal with cents, times are ISO
text in UTC. `BAD` counts the records that a careful reader must notice.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

BAD = {
    "duplicate_emails": 3,  # pairs with exactly the same address
    "email_variants": 2,  # the same address in other case or with blanks around it
    "missing_emails": 5,
    "text_scores": 4,
    "comma_amounts": 2,
    "impossible_dates": 1,
}

_FIRST = [
    "Ada", "Zoë", "Björn", "José", "María", "Søren", "Chloé", "Łukasz", "Anaïs", "Ivan", "Олена", "Δήμητρα", "伟", "陽子", "지훈",
    "محمد", "שרה", "Priya", "Kwame", "Siobhán", "Jürgen", "Grace", "Alan", "Edsger", "Barbara", "Ken",
]  # fmt: skip
_LAST = [
    "Lovelace", "Müller", "Ångström", "García", "Nørgaard", "Dvořák", "O'Neill", "d'Arc", "Иванова", "Παπαδοπούλου", "王", "佐藤",
    "김", "الخطيب", "כהן", "Nair", "Mensah", "Größer", "Hopper", "Turing", "Liskov", "Thompson",
]  # fmt: skip
_LATIN = [
    "ada", "zoe", "bjorn", "jose", "maria", "soren", "chloe", "lukasz", "anais", "ivan", "olena", "dimitra", "wei", "yoko",
    "jihoon", "mohammed", "sara", "priya", "kwame", "siobhan",
]  # fmt: skip
_CITIES = [
    ("Berlin", "DE", "10115"),
    ("München", "DE", "80331"),
    ("Zürich", "CH", "8001"),
    ("São Paulo", "BR", "01310-100"),
    ("東京", "JP", "100-0001"),
    ("New York", "US", "10001"),
    ("Kraków", "PL", "30-001"),
    ("Reykjavík", "IS", "101"),
]
_NOTES = [
    None, None, None, None, "", "Called back on Tuesday.", "Größe „XL“ bestätigt; Straße geändert.", "喜欢早上联系。", "Loves 🚲 and ☕️",
    "مهتم بالعرض الجديد", "לקוח ותיק", 'Said: "never again", then bought\ntwice.', "Tab\there, back\\slash, comma, semicolon; 'quotes'",
]  # fmt: skip
_TAGS = ["vip", "newsletter", "trial", "partner", "événement", "reseller"]
_STATUS = ["active", "active", "active", "lead", "lead", "churned", "archived"]
_INDUSTRIES = ["Software", "Retail", "Health", "Logistics", "Energy", "Public sector", None]
_WORDS = [
    "north", "blue", "river", "bright", "iron", "cedar", "amber", "swift", "quiet", "lunar", "solar", "terra", "nova", "delta",
    "prime",
]  # fmt: skip
_RECIPES: tuple[tuple[str, str | None, int | None, list[list[Any]]], ...] = (
    ("Signups to CRM", "token", None, [["Create CRM Contact", {"email": "\u0001/input/email\u0002", "tags": ["signup"]}]]),
    ("Stock below zero", None, 432, [["HTTP Request", {"method": "GET", "url": "https://stock.example/low"}], ["Delay", {"seconds": 5}]]),
    ("Größen-Report ☕️", None, 433, [["Send Email", {"to": "ops@harbour.example", "subject": "\u0001/input/title\u0002"}]]),
    (
        "Feed → Twitter",
        "public",
        None,
        [["Read RSS Feed", {"url": "https://a.example/feed"}], ["Post to Twitter", {"tweet_body": "–"}]],
    ),
)
# Who may use what, as a team keeps it in a table. The ids are those of the Stack AI sandbox: its first three connections, two people.
_MAY_USE: tuple[tuple[str, str, str, str], ...] = (
    ("c3789407-ed21-4c19-bbcf-236782669e5c", "user", "9d944916-e679-4a88-884e-abd035e31eae", "editor"),
    ("c3789407-ed21-4c19-bbcf-236782669e5c", "organization", "*", "viewer"),
    ("4290a2c9-0f7d-41ff-869e-6034f4223c15", "user", "9d944916-e679-4a88-884e-abd035e31eae", "viewer"),
    ("4290a2c9-0f7d-41ff-869e-6034f4223c15", "group", "1829f2c5-235d-430e-8173-c14e2bb1ffd4", "viewer"),
    ("4b1c233b-1015-495f-8482-71b6d1fd2d81", "user", "3500f06f-83d6-49d7-9fb5-bfa427c394b8", "admin"),
)
_START = datetime(2023, 1, 1, tzinfo=UTC)


def demo(
    seed: int, *, contacts: int, companies: int, orders: int, company_sids: list[str], contact_sids: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The records of every demo object, in the order they were made. The sids are those the records will get."""
    return {
        "contacts": list(_contacts(random.Random(f"{seed}/contacts"), contacts, company_sids)),  # noqa: S311
        "companies": list(_companies(random.Random(f"{seed}/companies"), companies)),  # noqa: S311
        "orders": list(_orders(random.Random(f"{seed}/orders"), orders, contact_sids)),  # noqa: S311
        "invoices": [],
        "recipes": [dict(zip(("title", "webhook", "schedule", "blocks"), recipe, strict=True)) for recipe in _RECIPES],
        "access": [dict(zip(("connection_id", "subject_type", "subject_id", "role"), entry, strict=True)) for entry in _MAY_USE],
        "integrations": [],
        "automations": [],
    }


def _contacts(rng: random.Random, count: int, company_sids: list[str]) -> Iterator[dict[str, Any]]:
    emails: list[str] = []
    for n in range(count):
        made, changed = _times(rng, n)
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        email: str | None = f"{_LATIN[n % len(_LATIN)]}.{n:05d}@{_WORDS[n % len(_WORDS)]}.example"
        city, country, postcode = rng.choice(_CITIES)
        record: dict[str, Any] = {
            "first_name": first,
            "last_name": last,
            "email": email,
            "phone": None if rng.random() < 0.2 else f"+49 30 {rng.randrange(10**6, 10**7)}",
            "company_sid": rng.choice(company_sids) if company_sids and rng.random() < 0.8 else None,
            "status": rng.choice(_STATUS),
            "tags": rng.sample(_TAGS, rng.choice((0, 0, 1, 2))),
            "address": {"street": f"Straße {rng.randrange(1, 200)}", "city": city, "postcode": postcode, "country": country},
            "lifetime_value": _money(rng, 2_000_000),
            "score": rng.randrange(0, 101) if rng.random() < 0.9 else None,
            "subscribed": rng.random() < 0.6,
            "notes": rng.choice(_NOTES),
            "created_at": made,
            "updated_at": changed,
        }
        record.update(_contact_oddity(n, emails))
        emails.append(record["email"] or "")
        yield record


def _contact_oddity(n: int, emails: list[str]) -> dict[str, Any]:
    """What makes contact number `n` special: the two people every example knows, and the bad records of `BAD`."""
    if n == 0:
        return {"first_name": "Ada", "last_name": "Lovelace", "email": "ada.lovelace@example.com", "status": "active"}
    if n == 1:
        return {"first_name": "Zoë", "last_name": "Müller", "email": "zoë.müller@example.com", "status": "active"}
    if n == 2:
        return {"first_name": "Bob", "last_name": "Stone", "email": "bob@example.com", "status": "active"}
    if n in (40, 41, 42):  # the same address as contact 10, 11, 12
        return {"email": emails[n - 30], "status": "active"}
    if n == 43:
        return {"first_name": "Bob", "last_name": "Stone", "email": " Bob@Example.com ", "status": "lead"}
    if n == 44:
        return {"email": emails[13].upper(), "status": "lead"}
    if n in (50, 51, 52, 53, 54):
        return {"email": None if n % 2 else "", "status": "lead"}
    if n in (60, 61, 62, 63):
        return {"score": "n/a"}
    if n in (70, 71):
        return {"lifetime_value": "12,50"}
    return {"created_at": "2024-02-30T25:61:00Z"} if n == 80 else {}


def _companies(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        word, other, form = rng.choice(_WORDS), rng.choice(_WORDS), rng.choice(["AG", "Ltd", "S.à r.l.", "株式会社", "Inc."])
        yield {
            "name": "Example GmbH & Co. KG" if n == 0 else f"{word.title()}{other} {form}",
            "domain": "example.com" if n == 0 else f"{word}-{other}-{n}.example",
            "industry": rng.choice(_INDUSTRIES),
            "employees": rng.randrange(1, 20_000) if rng.random() < 0.9 else None,
            "annual_revenue": _money(rng, 10**11),
            "country": rng.choice(_CITIES)[1],
            "founded_on": (date(1950, 1, 1) + timedelta(days=rng.randrange(27_000))).isoformat() if rng.random() < 0.95 else None,
            "updated_at": _times(rng, n)[1],
        }


def _orders(rng: random.Random, count: int, contact_sids: list[str]) -> Iterator[dict[str, Any]]:
    for n in range(count):
        lines: list[dict[str, Any]] = [
            {"sku": f"SKU-{rng.randrange(1000):04d}", "quantity": rng.randrange(1, 9), "price": _money(rng, 50_000)}
            for _ in range(rng.choice((1, 1, 2, 3)))
        ]
        placed, changed = _times(rng, n)
        yield {
            "number": f"SO-{100_000 + n}",
            "contact_sid": rng.choice(contact_sids) if contact_sids else None,
            "amount": sum((line["price"] * line["quantity"] for line in lines), Decimal("0.00")),
            "currency": rng.choice(["EUR", "EUR", "USD", "CHF", "JPY"]),
            "placed_at": placed,
            "lines": lines,
            "status": rng.choice(["open", "paid", "paid", "shipped", "cancelled"]),
            "updated_at": changed,
        }


def _money(rng: random.Random, most_cents: int) -> Decimal:
    return Decimal(rng.randrange(most_cents)).scaleb(-2)


def _times(rng: random.Random, n: int) -> tuple[str, str]:
    """When record `n` was made and last changed; ties are common, as imports make them."""
    made = _START + timedelta(minutes=7 * (n // 3))
    return _iso(made), _iso(made + timedelta(minutes=rng.randrange(0, 60 * 24 * 30)))


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
