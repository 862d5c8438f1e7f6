"""What a Robostack connection may set: credentials, and one choice for each thing its document leaves open. Pure."""

from typing import Literal

from pydantic import Field

from connectors.settings import ConnectionSettings, Secret, StreamSettings

ID_FIELD = "id"  # what the document's own samples select by


class RobostackSettings(ConnectionSettings):
    """Defaults are the safest reading of the document; the README says what each silence may cost."""

    base_url: str = "https://api.robostack.ai"
    api_key: Secret = Field(description="Token Key, from My Account; the token must be added to the application under API Access")
    api_secret: Secret = Field(description="Token Secret, shown beside the key")
    app_uuid: str = Field(min_length=1, description="appUUID, from Application Settings")
    find_all: Literal["auto", "selection", "empty", "no_body"] = Field(
        "auto", description='the body that finds every record: {"selection": {}}, {} or none; auto: the first that works, in this order'
    )
    find_404: Literal["unknown_resource", "no_records"] = Field(
        "unknown_resource", description="what 404 means as the answer to a find: a wrong name, or nothing found"
    )
    result_cap: Literal["unknown", "none"] | int = Field(
        "unknown", description="records in one answer at most; none: there is no cap; unknown: a round count proves no absence"
    )
    records_at: str | None = Field(None, description="where the records are in an answer, as data.records; unset: the one list of objects")
    create_batch: int = Field(500, ge=1, description="records in one create call at most; no number is documented")
    list_selections: bool = Field(False, description="allow update and delete by lists of selections, undocumented in their details")

    def keys_of(self, resource: str) -> tuple[str, ...]:
        """The fields that identify a record of a resource; the first is its id field."""
        return tuple(self.streams.get(resource, StreamSettings()).key) or (ID_FIELD,)

    @property
    def account(self) -> str:
        """Which account of the platform this is, without secrets: what two connections to the same one have in common."""
        return f"{super().account} {self.app_uuid}"
