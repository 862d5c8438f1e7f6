"""What a Celigo connection may set: the token, secrets by reference, and one choice for each thing its document leaves open. Pure."""

from typing import Literal

from pydantic import Field, field_validator

from connectors.celigo.masks import is_mask
from connectors.settings import ConnectionSettings, Secret


class CeligoSettings(ConnectionSettings):
    """Defaults are the safest reading of the document; the README says what each silence may cost."""

    base_url: str = Field("https://api.integrator.io", description="US; an EU account lives at https://api.eu.integrator.io")
    token: Secret = Field(description="an API token, from Resources > API tokens")
    secret_access_keys: dict[str, Secret] = Field(
        default_factory=dict, description="the AWS secret access key that belongs to each AWS access key id, by reference"
    )
    update_without_secret: Literal["refuse", "send"] = Field(
        "refuse", description="an update of a lambda stack whose secret is not given here; send: this platform keeps the one it has"
    )
    put_nulls: Literal["omit", "send"] = Field("omit", description="how an update says that a field has no value")
    dependents: Literal["refuse", "ignore"] = Field("refuse", description="a delete of a stack that other resources still use")
    second_read: Literal["always", "for_proof"] = Field(
        "always", description="a list of several pages is read until two reads agree; for_proof: only where a deletion rests on it"
    )
    deleted_mark: str = Field("deletedAt", description="a stack with a value in this field is in the recycle bin; empty: nothing tells")
    undocumented_fields: Literal["leave_out", "read"] = Field(
        "leave_out", description="read: fields that no document describes come as one JSON field, `undocumented`"
    )
    max_pages: int = Field(10_000, gt=0, description="a read of more pages than this is given up")

    @field_validator("secret_access_keys")
    @classmethod
    def _real(cls, given: dict[str, Secret]) -> dict[str, Secret]:
        if any(not secret or is_mask(secret.reveal()) for secret in given.values()):
            raise ValueError("one of the secrets is empty or a mask such as ******; give the key itself, by reference")
        return given
