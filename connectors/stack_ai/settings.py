"""What a Stack AI connection may set: how to log in, and one choice for each thing its document leaves open. Pure."""

from typing import Literal

from pydantic import Field

from connectors.settings import ConnectionSettings, Secret


class StackAiSettings(ConnectionSettings):
    """Defaults are the safest reading of the document; the README says what each silence may cost."""

    token_url: str | None = Field(None, description="where username and password are exchanged for a token; /path is below base_url")
    username: str | None = None
    password: Secret | None = None
    access_token: Secret | None = Field(
        None, description="a token to begin with; refused, it is renewed where username and password are set"
    )
    scope: str | None = Field(None, description="sent when logging in, if set")
    client_id: str | None = Field(None, description="sent when logging in, if set")
    client_secret: Secret | None = Field(None, description="sent when logging in, if set")
    organization: str | None = Field(None, description="the organization this connection is for; records of another one stop every read")
    organization_at: str | None = Field(None, description="the field of a connection that tells its organization; unset: the usual names")
    id_at: str | None = Field(None, description="the field of a connection that holds its id; unset: id, connection_id, uuid")
    records_at: str | None = Field(None, description="where the list of connections is in an answer, as data.items; unset: the one list")
    listing: Literal["connections", "v1"] = Field("connections", description="which of the two documented lists is read")
    list_total: Literal["auto", "ignore"] = Field("auto", description="ignore: the total that lists tell is known to be wrong")
    connection_ids: list[str] = Field(
        default_factory=list, description="the connections whose resources, grants and health are read; unset: all"
    )
    resources_at: str | None = Field(None, description="where the list of resources is in an answer; unset: the one list")
    resource_id_at: str | None = Field(None, description="the field of a resource that holds its id; unset: resource_id, id")
    next_token_at: str | None = Field(None, description="where the next page token is in an answer; unset: the usual names")
    files: Literal["skip", "ask"] = Field("skip", description="ask: a resource that calls itself a file may have children all the same")
    max_depth: int = Field(60, gt=0, description="levels of a tree; a read that meets a deeper one is incomplete")
    max_pages: int = Field(100_000, gt=0, description="a read of more pages than this stops as incomplete")
    organization_subject: str = Field("organization", description="the subject_type that stands for everyone in the organization")
    organization_roles: Literal["auto", "hidden"] = Field(
        "auto", description="hidden: no answer tells the organization's role; auto: where none does, the read proves no absence"
    )
    mask: str | None = Field(None, description="what is shown in place of a secret, where it is not a row of * or •; never sent")
    provider_data: dict[str, dict[str, Secret]] = Field(
        default_factory=dict,
        description="connection name, or provider:ID → the fields of connection_provider_data, by reference; filled in when sending",
    )

    @property
    def account(self) -> str:
        """Which account of the platform this is, without secrets: what two connections to the same one have in common."""
        return f"{super().account} {self.organization or self.username or ''}".rstrip()
