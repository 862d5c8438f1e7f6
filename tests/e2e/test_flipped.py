"""Every silence of every document answered the other way: a sync between two such accounts is right, or says what stands in its way.

The flips of one platform are made together, a round for the first alternative of every switch, one for the second, and so on, so that a new
switch takes part by itself; those that a sync must speak about are made alone. Who is right is asked of the stores, never of the engine.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from connectors.errors import ConnectorError
from tests.e2e.accounts import PLATFORMS, Account, Platform, account, sync
from tests.e2e.world import World, world

HERE = [("Alpha", "notion"), ("Größe 🚲 ", "hubspot"), ("三", "notion"), ("x" * 60, "hubspot"), ("five", "notion")]
THERE = [("alpha", "hubspot"), ("Alpha", "hubspot")]  # the first is others' and stays, the second is found to be the same record
NUMBERS = {
    **{"page_size": "3", "pagesize": "3", "page_cap": "3", "limit_cap": "3", "empty_pages": "2", "token_lives": "5"},
    **{"max_text": "50", "max_batch": "2", "result_cap": "3", "hidden_every": "3"},
    **{"unique": "name", "hidden_fields": "kind", "broken_provider": "notion"},
}
NO_SILENCE = {"fault", "fault_count", "latency_ms"}  # trouble, which other tests make
SMALL: dict[str, tuple[dict[str, str], dict[str, Any]]] = {  # the switches and settings that make a few records several pages
    "stacker": ({}, {"page_size": 2}),
    "celigo": ({"page_size": "2"}, {}),
    "stack_ai": ({}, {"page_size": 2}),
    "kragle": ({"pagesize": "2"}, {}),
}


@dataclass(frozen=True)
class Spoken:
    """A flip that a sync cannot make up for: what it says about it, and the settings that make it right, where any do.

    `perhaps`: by luck it may be right all the same.
    """

    words: str
    settings: Mapping[str, Any] | None = None
    perhaps: bool = False


OTHERWISE, NOT_FOUND = "read back otherwise in name", "with this match key was found"
SPOKEN: dict[tuple[str, str, str], Spoken] = {
    ("stacker", "total", "plus5"): Spoken("the platform tells a total of", {"total": "ignore"}),
    ("stacker", "trims", "yes"): Spoken(NOT_FOUND),
    ("stacker", "delete", "refused"): Spoken("refused with status 409"),
    ("stacker", "max_text", "50"): Spoken("name is too long"),
    ("robostack", "match", "ignored"): Spoken("so updates and deletes are not safe there"),
    ("robostack", "updation", "replaces"): Spoken("which it did not name"),
    ("robostack", "hidden_fields", "kind"): Spoken("reads kind, but the source has no such field"),
    ("robostack", "trims", "yes"): Spoken(NOT_FOUND),
    ("robostack", "lower_cases", "yes"): Spoken(NOT_FOUND),
    ("robostack", "max_text", "50"): Spoken("is longer than 50 characters"),
    ("celigo", "next_link", "other_host"): Spoken("which is not followed"),
    ("celigo", "next_link", "repeated"): Spoken("its next link leads back to a page already read"),
    ("celigo", "dependencies", "forbidden"): Spoken("who uses it cannot be told", {"dependents": "ignore"}),
    ("celigo", "order", "shuffled"): Spoken("or the list keeps no order", perhaps=True),
    ("celigo", "trims", "yes"): Spoken(OTHERWISE),
    ("stack_ai", "offset", "ignored"): Spoken("offset is ignored", {"page_size": 1000}),
    ("stack_ai", "order", "shuffled"): Spoken("the list keeps no order", {"page_size": 1000}, perhaps=True),
    ("stack_ai", "hidden_every", "3"): Spoken("says it made are not shown by it"),
    ("stack_ai", "trims", "yes"): Spoken(OTHERWISE),
    ("kragle", "auth", "basic"): Spoken("an expired login looks just like that", {"auth": "basic"}),
    ("kragle", "count", "page"): Spoken("the platform's count changed from page to page", {"count": "ignore"}),
    ("kragle", "count", "high"): Spoken("if its count is wrong, set count: ignore", {"count": "ignore"}),
    ("kragle", "page", "ignored"): Spoken("the same page whatever page is asked for"),
    ("kragle", "order", "shuffled"): Spoken("are in no order", perhaps=True),
    ("kragle", "trims", "yes"): Spoken(OTHERWISE),
}
BY_THEMSELVES = {  # right, but not together with other flips of the same round
    ("stacker", "start", "ignored"),  # or there is no way left to read on
    ("robostack", "empty_selection", "none"),  # of three ways to ask for everything one must be left
    ("robostack", "absent_selection", "none"),
    ("robostack", "no_body", "refused"),
    ("celigo", "paging", "keyset"),  # the emulator's is of the order in which stacks were made
}
SHOWN_OTHERWISE = {  # the platform itself says otherwise than it is, and nothing can tell: only that no harm is done
    ("celigo", "deleted", "listed"),  # what is deleted is still there, they say
    ("robostack", "result_cap", "3"),  # there is no cap, the settings say
    ("robostack", "hidden_every", "3"),  # permissions hide records
}


def flips(platform: Platform) -> Iterator[tuple[str, list[str]]]:
    """Each switch and the answers that are not its default."""
    for switch, answers in import_module(f"connectors.{platform.connector.name}.emulator_store").SWITCHES.items():
        if switch not in NO_SILENCE:
            yield switch, [NUMBERS[switch] if answer.startswith("…") else answer for answer in answers[1:]]


def rounds(platform: Platform) -> Iterator[dict[str, str]]:
    """The n-th other answer to every switch, for n from 0, but for those that are made alone."""
    name = platform.connector.name
    left = {
        switch: [answer for answer in answers if (name, switch, answer) not in {*SPOKEN, *BY_THEMSELVES, *SHOWN_OTHERWISE}]
        for switch, answers in flips(platform)
    }
    for number in range(max(map(len, left.values()))):
        yield {switch: answers[number] for switch, answers in left.items() if number < len(answers)}
    yield from ({switch: answer} for one, switch, answer in sorted(BY_THEMSELVES) if one == name)


ROUNDS = [(platform, switches) for platform in PLATFORMS for switches in rounds(platform)]


@dataclass(frozen=True)
class Walk:
    """Two runs of a mirror, changes at the source between them, and a plan after both. `right` as the stores say; `said` is all it told."""

    right: bool
    unharmed: bool
    said: str


def walk(made: World, here: Account, there: Account, name: str, **settings: Any) -> Walk:
    """Copy `here` to `there` twice, with an edit and a deletion between."""
    made._settings |= {f"{name}_one": here.connection(**settings), f"{name}_other": there.connection(**settings)}
    spec = made.spec(**sync(name, here, there, (f"{name}_one", f"{name}_other")))
    here.add(*HERE)
    there.add(*THERE)
    said: list[str] = []
    right = True
    for step in (0, 1):
        if step:
            here.edit("三", "hubspot")
            if there.platform.deletes:
                here.remove("five")
        try:
            run = made.run(spec)
            told = [*run.refusals, *run.warnings, *(failure.reason for failure in made.ledger.failures(name))]
            said += [f"{run.status}: {words}" for words in (told or [""])]
            right &= run.status == "ok" and run.differences in (0, None)
        except ConnectorError as error:
            said.append(f"failed: {error}")
            right = False
        right &= there.held() == sorted([*here.held(), THERE[0]])
    if right:
        right = made.plan(spec)[1].counts.changes == 0
    spelt = [held[0].strip().lower() for held in there.held()]
    unharmed = THERE[0] in there.held() and len(spelt) - len(set(spelt)) == 1  # Alpha and alpha; nothing is there twice
    known = {(held[0].strip().lower(), kind) for held in (*HERE, *THERE) for kind in ("notion", "hubspot")}
    unharmed &= all((held[0].strip().lower(), held[1]) in known for held in there.held())
    return Walk(right, unharmed, "\n".join(said))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("flipped")) as one:
        yield one


@pytest.mark.parametrize(("platform", "switches"), ROUNDS, ids=[f"{platform.connector.name}-{n}" for n, (platform, _) in enumerate(ROUNDS)])
def test_a_sync_is_right_whatever_the_silences(made: World, platform: Platform, switches: dict[str, str]) -> None:
    small, settings = SMALL.get(platform.connector.name, ({}, {}))
    with account(platform, **{**small, **switches}) as here, account(platform, **{**small, **switches}) as there:
        name = f"round_{platform.connector.name}_{len(made._settings)}"
        walked = walk(made, here, there, name, **settings)
        assert walked.right, f"{switches}\n{walked.said}\n{there.held()}"


@pytest.mark.parametrize("flip", SPOKEN, ids="-".join)
def test_a_sync_that_cannot_be_right_says_so_and_does_no_harm(made: World, flip: tuple[str, str, str]) -> None:
    name, switch, answer = flip
    platform = next(one for one in PLATFORMS if one.connector.name == name)
    spoken, (small, settings) = SPOKEN[flip], SMALL.get(name, ({}, {}))
    with account(platform, **{**small, switch: answer}) as here, account(platform, **{**small, switch: answer}) as there:
        walked = walk(made, here, there, f"alone_{name}_{len(made._settings)}", **settings)
        assert spoken.words in walked.said or (spoken.perhaps and walked.right), walked.said
        assert not walked.right or spoken.perhaps
        assert walked.unharmed, there.held()
    if spoken.settings is not None:
        with account(platform, **{**small, switch: answer}) as here, account(platform, **{**small, switch: answer}) as there:
            walked = walk(made, here, there, f"set_{name}_{len(made._settings)}", **{**settings, **spoken.settings})
            assert walked.right, walked.said


@pytest.mark.parametrize("flip", sorted(SHOWN_OTHERWISE), ids="-".join)
def test_where_the_platform_says_otherwise_than_it_is_no_harm_is_done(made: World, flip: tuple[str, str, str]) -> None:
    name, switch, answer = flip
    platform = next(one for one in PLATFORMS if one.connector.name == name)
    with account(platform, **{switch: answer}) as here, account(platform, **{switch: answer}) as there:
        assert walk(made, here, there, f"hidden_{name}_{len(made._settings)}").unharmed, there.held()


def test_every_other_answer_takes_part() -> None:
    for platform in PLATFORMS:
        name = platform.connector.name
        made = {(switch, answer) for one, switches in ROUNDS if one is platform for switch, answer in switches.items()}
        alone = {(switch, answer) for one, switch, answer in {*SPOKEN, *SHOWN_OTHERWISE} if one == name}
        assert made | alone == {(switch, answer) for switch, answers in flips(platform) for answer in answers}
        assert not made & alone
