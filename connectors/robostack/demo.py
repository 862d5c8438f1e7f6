"""Demo data of the Robostack emulator, the same for the same seed. Pure, standard library only.

`people` and `orgs` are what a business had typed in by hand before any sync; a few of them are also
in other platforms. `invoices` is a resource that only this platform has.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

_PERSON = ("email", "name", "company", "phone", "status", "notes")
_PEOPLE: tuple[tuple[Any, ...], ...] = (
    ("ada.lovelace@example.com", "Ada Lovelace", 1, None, "lead", "Met at the fair."),
    ("zoë.müller@example.com", "Zoe Mueller", 1, "", "active", None),
    ("warehouse@harbour.example", "Harbour Warehouse", 2, "+44 20 7946 0101", "active", ""),
    ("佐藤@kaze.example", "佐藤 陽子", 3, None, "active", "午前中に電話 📞"),
    ("legacy+import@example.org", "O'Brien, Flann", None, None, "archived", '"old" card\nkeep'),
)
_ORG = ("domain", "name", "industry", "country", "employees", "annual_revenue")
_ORGS: tuple[tuple[Any, ...], ...] = (
    ("example.com", "Example", None, "GB", 12, Decimal("1250000.50")),
    ("harbour.example", "Harbour & Sons", "Logistics", "GB", 40, None),
    ("kaze.example", "風 Kaze K.K.", "Retail", "JP", 7, Decimal("0.10")),
)
_LOCAL = ("ana", "bo", "chidi", "dana", "emeka", "freya", "goran", "hana", "ines", "jonas")
_GOODS = (
    ("PAL-01", "Europalette", Decimal("14.90")),
    ("BOX-07", "Größe L, doppelwellig", Decimal("1.35")),
    ("SRV-12", "Wareneingang (Stunde)", Decimal("48.00")),
    ("SRV-30", "Cross-dock handling", Decimal("0.99")),
    ("FRT-02", "Fracht København → Łódź", Decimal("312.405")),
)
_NOTES = (None, None, None, "", "Net 30.", "Rückfrage: „Skonto?“", "支払い済み", "שולם בהעברה", "2nd reminder\nsent ✉️", 'PO "A-17"')


def demo(seed: int, *, people: int, orgs: int, invoices: int) -> dict[str, list[dict[str, Any]]]:
    """The records of every demo resource, without ids, in the order they were made."""
    return {
        "people": [dict(zip(_PERSON, _PEOPLE[n] if n < len(_PEOPLE) else _person(n), strict=True)) for n in range(people)],
        "orgs": [dict(zip(_ORG, _ORGS[n] if n < len(_ORGS) else _org(n), strict=True)) for n in range(orgs)],
        "invoices": list(_invoices(random.Random(f"{seed}/invoices"), invoices)),  # noqa: S311
    }


def _person(n: int) -> tuple[Any, ...]:
    first = _LOCAL[n % len(_LOCAL)]
    return (f"{first}.{n:05d}@counter.example", f"{first.title()} Nº{n}", None, None, "active", None)


def _org(n: int) -> tuple[Any, ...]:
    return (f"org-{n:05d}.example", f"Organisation {n}", None, "DE", n, None)


def _invoices(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        lines = [_line(rng) for _ in range(rng.randint(1, 4))]
        issued = date(2025, 1, 1) + timedelta(days=n * 500 // max(1, count))
        yield {
            "number": f"INV-{issued.year}-{n + 1:05d}",
            "customer_email": f"{rng.choice(_LOCAL)}.{rng.randint(1, 300):05d}@counter.example" if rng.random() > 0.01 else None,
            "amount": sum((line["quantity"] * line["unit_price"] for line in lines), Decimal(0)).quantize(Decimal("0.01")),
            "currency": rng.choice(("EUR", "EUR", "EUR", "GBP", "USD", "JPY")),
            "issued_on": issued.isoformat(),
            "due_on": (issued + timedelta(days=30)).isoformat(),
            "paid": rng.random() < 0.7,
            "lines": lines,
            "notes": rng.choice(_NOTES),
        }


def _line(rng: random.Random) -> dict[str, Any]:
    sku, description, price = rng.choice(_GOODS)
    return {"sku": sku, "description": description, "quantity": rng.randint(1, 40), "unit_price": price}
