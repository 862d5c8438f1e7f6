"""The third party: people and programs that change both platforms whenever they like."""

from typing import TYPE_CHECKING, Any

from tests.simulation.scenario import KEYS, STRANGERS

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES = ("Zoë", None)


def email(number: int) -> str:
    """The e-mail address of that number."""
    return f"k{number}@example.com"


def record(rng: Any, number: int) -> dict[str, Any]:
    """A record with this key."""
    return {"email": email(number), "name": rng.choice(NAMES), "score": rng.randrange(2)}


def act(world: "World") -> None:
    """One thing somebody else does, at the sink or at the source."""
    (at_sink if world.rng.random() < 0.6 else at_source)(world)


def at_source(world: "World") -> None:
    """Records are edited, made, removed, and now and then get another key, a twin or none; all of them may go."""
    rng, source = world.rng, world.source
    ids = list(source.rows)
    way = rng.choices(("edit", "add", "remove", "move", "blank", "twin", "clear"), (5, 3, 2, 1, 0.3, 0.6, 0.3))[0]
    free = [n for n in range(KEYS) if email(n) not in {row.get("email") for row in source.rows.values()}]
    if way == "add" or not ids:
        if free:
            source.add(record(rng, rng.choice(free)))
            world.tell("others add a record at the source")
        return
    key = rng.choice(ids)
    if way == "edit":
        source.edit(key, {"name": rng.choice(NAMES), "score": rng.randrange(2)})
    elif way == "remove":
        source.remove(key)
    elif way == "clear":
        for one in ids:
            source.remove(one)
    elif way == "twin":
        source.add({**record(rng, 0), "email": f" {source.rows[key].get('email') or email(0)} ".upper()})
    elif way == "blank":
        source.edit(key, {"email": None})
    elif free:
        source.edit(key, {"email": email(rng.choice(free))})
    world.tell(f"others {way} {key} at the source")


def at_sink(world: "World") -> None:
    """Records are edited, removed, made (also with keys that the sync knows), and made again; and what the scenario says beside."""
    plan = world.scenario
    beside = {"rekey": 4 * plan.rekeys, "copy": 2 * plan.rekeys, "reuse": 5 * plan.reuses}
    ways = {"edit": 5, "remove": 2, "add": 2, "again": 1, **{way: weight for way, weight in beside.items() if weight}}
    _at_sink(world, world.rng.choices(list(ways), list(ways.values()))[0])


def between_runs(world: "World") -> None:
    """What they do in the quiet between two runs where the scenario says so."""
    plan = world.scenario
    if plan.rekeys and world.rng.random() < 0.6:
        _at_sink(world, world.rng.choice(("rekey", "rekey", "copy")))
    if plan.reuses and world.rng.random() < 0.6:
        _at_sink(world, "reuse")


def _at_sink(world: "World", way: str) -> None:
    rng, sink = world.rng, world.sink
    ids = list(sink.rows)
    held = {row.get("email") for row in sink.rows.values()}
    if way == "add" or not ids:
        free = [n for n in range(KEYS) if email(n) not in held]
        if free:
            sink.add(record(rng, rng.choice(free)))
            world.tell("others add a record at the sink")
        return
    key = rng.choice(ids)
    values = sink.rows[key]
    if way == "edit":
        sink.edit(key, rng.choice(({"name": "Bea"}, {"score": 7})))
    elif way == "rekey":
        sink.edit(key, {"email": email(rng.randrange(KEYS + STRANGERS + 2))})
    elif way == "copy":
        sink.add({**record(rng, 0), "email": values.get("email")})
    elif way == "reuse":
        sink.remove(key)
        sink.add({"email": email(KEYS + STRANGERS + rng.randrange(2)), "name": "Ann", "score": 5}, key)
    else:
        sink.remove(key)
        if way == "again":
            sink.add({name: values.get(name) for name in ("email", "name", "score")})
    world.tell(f"others {way} {key} at the sink")
