"""A whole project as definitions: its syncs, the source assets they share, the platforms' records around them.

Every file is validated before Dagster loads one. What is broken becomes an asset that says so; it hides no other sync.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from connectors.errors import ConfigError
from pipelines.components.names import applied_key, plain, raw_key, remote_key
from pipelines.components.partitions import current_key
from pipelines.components.polling import polling_sensor
from pipelines.components.session import RESOURCE, Session, open_session
from pipelines.components.source import build_source_asset
from pipelines.components.sync import broken_sync_defs, build_sync_defs, job_of
from pipelines.components.triggers import sensor_of
from pipelines.components.wanted import syncs_wanted
from pipelines.components.watching import watching_defs
from pipelines.components.working import working_defs
from pipelines.runtime import Runtime, open_runtime
from pipelines.spec import SyncSpec

__all__ = ["Project", "current_project", "project_defs"]

_log = logging.getLogger("dagster")
_loading: ContextVar["Project | None"] = ContextVar("project being loaded", default=None)


@dataclass(frozen=True)
class Project:
    """The syncs of a project as Dagster shows them. Asks no platform anything."""

    runtime: Runtime
    wanted: frozenset[str] | None = None
    """The syncs that are loaded; None: all."""
    one_by_one: bool = False
    """Whether Dagster looks at each sync by itself, so that one that it refuses hides no other."""

    @cached_property
    def problems(self) -> dict[str, str]:
        """Why a sync cannot run, by its name: its file cannot be read, or asks for what cannot be done."""
        found = {name: str(error) for name, error in self.runtime.syncs.errors.items()}
        for name, file in self.runtime.syncs.files.items():
            try:
                self.runtime.validate(file.spec, file)
                _check_name(name, file.at())
                _check_cron(file.spec, file.at("schedule"))
                current_key(file.spec)
            except ConfigError as error:
                found[name] = str(error)
        return found

    @cached_property
    def specs(self) -> dict[str, SyncSpec]:
        """The syncs that can run, by name."""
        return {name: spec for name, spec in self.runtime.syncs.specs.items() if name not in self.problems}

    @cached_property
    def jobs(self) -> dict[str, UnresolvedAssetJobDefinition]:
        """The job of each sync that can run: one object, whoever names it."""
        return {name: job_of(spec) for name, spec in self.specs.items() if self.loads(name)}

    def loads(self, name: str) -> bool:
        """Whether that sync is loaded."""
        return self.wanted is None or name in self.wanted

    @cached_property
    def lookups(self) -> dict[str, tuple[str, ...]]:
        """The syncs that each sync looks something up in and that therefore run before it. A circle is cut at its last edge:
        two syncs that look each other up take what the other wrote last time."""
        return without_circles({name: named for name, spec in self.specs.items() if (named := looked_up(spec, self.specs))})

    def connector(self, connection: str) -> str:
        """The connector's name, which is a kind in the pages."""
        return self.runtime.connections.entry(connection).connector

    def sync_defs(self, name: str) -> dg.Definitions:
        """One sync, or the asset that says why it cannot run."""
        if name in self.problems:
            return self._broken(name)
        spec = self.specs[name]
        try:
            defs = build_sync_defs(
                spec,
                lookups=self._deps(spec),
                connector=self.connector(spec.target_connection),
                job=self.jobs[name],
                running=self.runtime.schedules_run,
            )
            if self.one_by_one:
                dg.Definitions.validate_loadable(dg.Definitions(assets=defs.assets, resources={RESOURCE: open_session}))
        except Exception as error:  # noqa: BLE001 (whatever Dagster refuses about one sync must not hide the others)
            self.problems[name] = f"sync {name}: Dagster refuses it: {error}"
            return self._broken(name)
        return defs

    def _deps(self, spec: SyncSpec) -> list[dg.AssetDep]:
        """What the sync looks up, window by window where both have windows."""
        windows = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True) if spec.partitions else None
        named = [(name, self.specs[name]) for name in self.lookups.get(spec.name, ())]
        return [
            dg.AssetDep(applied_key(name), partition_mapping=windows if spec.partitions and other.partitions else None)
            for name, other in named
        ]

    def triggers(self) -> dg.Definitions:
        """The sensors of the syncs that follow others, and of those whose sources are asked what is new, where there are any."""
        followers = [spec for spec in self.specs.values() if spec.after and self.wanted is None]
        jobs = [self.jobs[spec.name] for spec in followers]
        sensors = [sensor_of(followers, jobs, running=self.runtime.schedules_run)] if followers else []
        polled = [spec for spec in self.specs.values() if spec.poll and self.wanted is None]
        sensors += [polling_sensor(self.runtime, polled, [self.jobs[spec.name] for spec in polled])] if polled else []
        return dg.Definitions(sensors=sensors)

    def _broken(self, name: str) -> dg.Definitions:
        _log.error(f"sync {name} cannot run: {self.problems[name]}")
        return broken_sync_defs(plain(name), self.problems[name])

    def surroundings(self) -> dg.Definitions:
        """The source assets, and the records on their platforms as external assets, upstream only: two syncs in opposite
        directions are then no circle."""
        readers: dict[str, list[SyncSpec]] = {}
        for spec in self.specs.values():
            readers.setdefault(spec.source, []).append(spec)
        store = "postgres" if "://" in self.runtime.places.staging else "parquet"
        sources = [
            build_source_asset(address, specs, {self.connector(specs[0].source_connection), store}) for address, specs in readers.items()
        ]
        taken = {raw_key(address) for address in readers}
        addresses = sorted({address for spec in self.specs.values() for address in (spec.source, spec.target)})
        return dg.Definitions(assets=[*sources, *(self._remote(address) for address in addresses if remote_key(address) not in taken)])

    def _remote(self, address: str) -> dg.AssetSpec:
        connection = address.partition(".")[0]
        connector = self.connector(connection)
        return dg.AssetSpec(
            remote_key(address),
            description=f"On {connector}: the records of {address}, shown to say where records come from and go to.",
            group_name=plain(connection),
            kinds={connector},
        )


def _around(project: Project) -> tuple[dg.Definitions, dg.Definitions]:
    """What looks after all syncs: the sensor of their health, and workers for split runs."""
    return watching_defs(project.runtime, project.specs, project.problems), working_defs(project.runtime, project.specs)


def current_project(start: Path) -> Project:
    """The project being loaded, or else the one around `start`."""
    return _loading.get() or Project(open_runtime(start=start))


def project_defs(runtime: Runtime, session: Session | None = None) -> dg.Definitions:
    """Everything of the project. Raises ConfigError only where connections.yaml itself cannot be read.

    With `session`, steps use that instead of opening the project themselves.
    """
    specs = runtime.syncs.specs
    wanted = syncs_wanted(specs, {raw_key(spec.source) for spec in specs.values()})
    runtime.connections, runtime.schedules_run  # noqa: B018 (read now, so that its error is the only one)
    try:
        return _loadable(Project(runtime, wanted), session)
    except Exception as error:  # noqa: BLE001 (said again, of the sync that it is about, or of all together)
        _log.info(f"looking at each sync by itself, as Dagster refuses something about all of them together: {error}")
        return _loadable(Project(runtime, wanted, one_by_one=True), session)


def _loadable(project: Project, session: Session | None) -> dg.Definitions:
    """Everything of the project, looked at as a whole by Dagster, which keeps what it made of it with these definitions."""
    with _loaded_as(project):
        around = _around(project)
        defs = dg.Definitions.merge(_syncs(project), project.surroundings(), project.triggers(), *around, _settings(session))
    defs.resolve_asset_graph().toposorted_asset_keys  # noqa: B018 (a circle shows only here)
    dg.Definitions.validate_loadable(defs)
    return defs


def _syncs(project: Project) -> dg.Definitions:
    """Through Dagster's own loader where it can read every file, so that other components load and pages know their types."""
    places = project.runtime.places
    unreadable = project.runtime.syncs.errors
    if not unreadable and project.wanted is None and places.syncs == _package_folder():
        return dg.load_from_defs_folder(path_within_project=places.root)
    if unreadable and project.wanted is None:
        _log.warning("components that are no syncs are left out until every file under pipelines/defs can be read")
    names = sorted(name for name in {*project.runtime.syncs.files, *unreadable} if project.loads(name))
    return dg.Definitions.merge(*map(project.sync_defs, names))


def _package_folder() -> Path:
    from pipelines import defs

    return Path(next(iter(defs.__path__)))


def _settings(session: Session | None) -> dg.Definitions:
    """One process per run: starting a process for each step would take longer than most steps."""
    return dg.Definitions(resources={RESOURCE: session or open_session}, executor=dg.in_process_executor)


@contextmanager
def _loaded_as(project: Project) -> Iterator[None]:
    token = _loading.set(project)
    try:
        yield
    finally:
        _loading.reset(token)


def looked_up(spec: SyncSpec, known: Iterable[str]) -> tuple[str, ...]:
    """The known syncs that the expressions of `spec` look something up in."""
    written = [text for text in (*(spec.fields or {}).values(), spec.where or "") if "lookup" in text.lower()]
    if not written:
        return ()
    from pipelines import duck
    from pipelines.expressions import Parser

    found: dict[str, None] = {}
    with duck.session() as connection:
        parser = Parser(connection, None)
        for text in written:
            try:
                found.update(dict.fromkeys(lookup.sync for lookup in parser.parse("a field", text).lookups))
            except ConfigError:
                continue  # the run says what is wrong with it, with the fields of the source at hand
    return tuple(name for name in found if name in set(known) and name != spec.name)


def without_circles(edges: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The same edges, in order, without those that would close a circle."""
    kept: dict[str, list[str]] = {}

    def reaches(start: str, goal: str) -> bool:
        return start == goal or any(reaches(further, goal) for further in kept.get(start, ()))

    for name, named in edges.items():
        for other in named:
            if not reaches(other, name):
                kept.setdefault(name, []).append(other)
    return {name: tuple(others) for name, others in kept.items()}


def _check_name(name: str, at: str) -> None:
    from dagster._core.definitions.utils import DISALLOWED_NAMES

    if name in DISALLOWED_NAMES or name.startswith("__"):
        raise ConfigError(f"{at}: Dagster keeps the name {name!r} for itself; rename the folder of this sync")


def _check_cron(spec: SyncSpec, at: str) -> None:
    from dagster._utils.schedules import is_valid_cron_string

    if spec.schedule is not None and not is_valid_cron_string(spec.schedule):
        raise ConfigError(f'{at}: {spec.schedule!r} is not a cron expression; write five fields, such as "*/15 * * * *"')
