"""SyncComponent: a sync as Dagster's tools know it. A thin skin over `build_sync_defs`."""

from typing import Any, Self

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, ConfigDict, Field

from connectors.errors import ConfigError
from pipelines.components.project import current_project
from pipelines.spec import SyncSpec

__all__ = ["SyncAttributes", "SyncComponent", "SyncScaffolder"]

SCAFFOLD = """\
type: {type}
attributes:
  from: {source}
  to: {target}
  match: [{match}]                       # fields of the sink that say "the same record"
  mode: upsert                           # insert | update | upsert | mirror (upsert + delete)
  limits: {{create_count: 10000, update_share: 0.5}}
  # fields:                              # sink field: SQL expression over the source's fields; default: all of the same name
  #   {match}: lower(trim({match}))
"""


def _without_name(schema: dict[str, Any]) -> None:
    schema["properties"].pop("name", None)  # a sync is named after its folder


class SyncAttributes(SyncSpec):
    """What stands under `attributes:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, json_schema_extra=_without_name, title="SyncAttributes")


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs` may be told."""

    source: str = Field("stacker_demo.contacts", description="connection.stream that is read")
    target: str = Field("robostack_demo.people", description="connection.stream that is written")
    match: str = Field("email", description="field of the sink that says 'the same record'")


class SyncScaffolder(Scaffolder[ScaffoldParams]):
    """Writes a sync that is valid as it stands. `crossdock new sync` does more: it proposes a mapping from the streams' fields."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """The parameters of `dg scaffold defs`."""
        return ScaffoldParams

    def scaffold(self, request: ScaffoldRequest[ScaffoldParams]) -> None:
        """Write defs.yaml into the folder that names the sync. Raises ConfigError rather than overwrite one."""
        file = request.target_path / "defs.yaml"
        if request.scaffold_format != "yaml":
            raise ConfigError("a sync is written in YAML; leave out --format python")
        if request.append or file.exists():
            raise ConfigError(f"{file} exists; a sync has a folder of its own: choose another name")
        given = request.params or ScaffoldParams()
        file.write_text(SCAFFOLD.format(type=request.type_name, **given.model_dump()), encoding="utf-8")


@dg.scaffold_with(SyncScaffolder)
class SyncComponent(dg.Component):
    """Keeps the records of one platform's stream in step with those of another's.

    Its assets are the plan (what would be written, and why it may be refused) and what was applied; several syncs may
    share a source asset. The folder of the file names the sync.

    ```yaml
    type: pipelines.components.SyncComponent
    attributes:
      from: stacker_demo.contacts
      to: robostack_demo.people
      match: [email]
      fields:
        email: lower(trim(email))
        name: first_name || ' ' || last_name
    ```
    """

    def __init__(self, spec: SyncSpec) -> None:
        self.spec = spec

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of `attributes:`: the one the command reads a sync by, so that a file means one thing everywhere (no templates)."""
        return SyncAttributes

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Who answers for it, and where it shows in the list of components."""
        return dg.ComponentTypeSpec(description=cls.__doc__, tags=["sync", "integration"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component of a file, named after its folder."""
        if not isinstance(attributes, SyncSpec):
            raise ConfigError(f"{context.path}: a sync needs attributes: from, to and match")
        return cls(attributes.model_copy(update={"name": context.path.name}))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The sync's assets, checks, job and schedule, or an asset that says why it cannot run."""
        return current_project(context.project_root).sync_defs(self.spec.name)
