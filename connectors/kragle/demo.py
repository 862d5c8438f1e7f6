"""Demo data of the Kragle emulator, the same for the same seed. Pure, standard library only.

Stacks of user 7, whose login is the demo's, most of them private, and public ones of four other people. Conversions refer to values
between the characters U+0001 and U+0002, as in the platform's own sample.
"""

import random
from typing import Any

OWNER = 7
SCHEDULES: dict[int, dict[str, Any]] = {
    432: {"every": "15m"},
    433: {"cron": "0 6 * * 1-5", "timezone": "Europe/Berlin"},
    434: {"at": "2026-01-01T00:00:00Z"},
}
_STILL: dict[str, Any] = {"input": {}, "output": {}}
_KINDS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("Read RSS Feed", {"url": "https://news.example/feed.xml"}, {"input": {}, "output": {"last_guid": None}}),
    ("Search Twitter", {"query": "#gluetogetherallt3hthings"}, {"input": {}, "output": {"since_id": 0}}),
    ("Post to Twitter", {"tweet_body": "\u0001/input/screen_name\u0002 says #gluetogetherallt3hthings!"}, _STILL),
    ("Send Email", {"to": "ops@harbour.example", "subject": "\u0001/input/title\u0002 – Größe \u0001/input/size\u0002"}, _STILL),
    ("Create CRM Contact", {"email": "\u0001/input/email\u0002", "score": 12, "tags": ["import", "zoë 🚲"]}, _STILL),
    ("Filter", {"keep_if": {"path": "/input/amount", "above": 312.405}}, {"input": {}, "output": {"dropped": 0}}),
    ("HTTP Request", {"method": "POST", "url": "https://hooks.example/in", "body": "\u0001/input\u0002"}, _STILL),
    ("Delay", {"seconds": 30}, _STILL),
)
KINDS = tuple(name for name, _, _ in _KINDS)
INITIAL_STATE = {name: state for name, _, state in _KINDS}
_WHAT = (
    "Orders",
    "Neue Kontakte",
    "Invoices",
    "Rückfragen",
    "風 leads",
    "Stock alerts",
    "Newsletter",
    "Refunds",
    "Fair visitors",
    "O'Brien's log",
)
_WHERE = ("to CRM", "by mail", "→ Twitter", "nightly", "for Łódź", "to the warehouse")


def demo(seed: int, *, own: int, others: int) -> list[dict[str, Any]]:
    """The stacks in the order they were made, without ids. `public` says who may see them, `schedules` which jobs they have."""
    rng = random.Random(f"{seed}/stacks")  # noqa: S311
    made = [_stack(rng, n, OWNER, public=n % 9 == 0) for n in range(own)]
    made += [_stack(rng, n, 100 + n % 4, public=True) for n in range(others)]
    rng.shuffle(made)
    return made


def _stack(rng: random.Random, n: int, owner: int, *, public: bool) -> dict[str, Any]:
    webhook = rng.choice((None, None, "public", "token", "user"))
    blocks = []
    for kind, conversion, state in (rng.choice(_KINDS) for _ in range(rng.randint(1, 4))):
        now = {**state, "output": {**state["output"], "runs": rng.randint(0, 99)}}
        blocks.append({"type": kind, "conversion": dict(conversion), "state": now})
    return {
        "owner": owner,
        "name": f"{_WHAT[n % len(_WHAT)]} {_WHERE[n // len(_WHAT) % len(_WHERE)]}" + (f" {n}" if n >= 60 else ""),
        "webhook": webhook,
        "webhook_method": rng.choice(("GET", "POST")) if webhook else None,
        "public": public,
        "blocks": blocks,
        "schedules": rng.sample(sorted(SCHEDULES), rng.choice((0, 0, 1, 2))),
        "enabled": rng.random() < 0.7,
    }
