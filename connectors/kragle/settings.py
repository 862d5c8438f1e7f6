"""What a Kragle connection may set: who logs in, whose stacks are meant, and one choice for each thing its document leaves open. Pure."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from connectors.settings import ConnectionSettings, Secret

Name = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int) and not isinstance(given, bool) else given)]


class KragleSettings(ConnectionSettings):
    """Defaults are the safest reading of the document; the README says what each silence may cost."""

    auth: Literal["bearer", "basic"] = Field("bearer", description="how credentials are sent; the document does not tell")
    token: Secret | None = Field(None, description="with bearer; with basic it stands for the user name, without a password")
    username: str | None = Field(None, description="with basic")
    password: Secret | None = Field(None, description="with basic")
    owner: Name | None = Field(None, min_length=1, description="our id as the stacks show it; unset: learnt from a stack known to be ours")
    own_stack: Name | None = Field(None, min_length=1, description="id or name of a stack of ours, best a private one: it proves the login")
    public_stacks: Literal["leave_out", "include"] = Field(
        "leave_out", description="include: other people's public stacks too; everything is then read-only"
    )
    expired_login: Literal["shrinks", "refused"] = Field(
        "shrinks", description="whether the list silently shrinks to what is public when the login expires, or is refused"
    )
    owner_fields: tuple[Literal["jobs", "webhook_token", "conversion", "state"], ...] = Field(
        ("jobs", "webhook_token", "conversion", "state"), description="what every stack of ours must show before an absence is trusted"
    )
    count: Literal["auto", "ignore"] = Field("auto", description="ignore: the count of this platform is known to be wrong")
    max_pages: int = Field(10_000, gt=0, description="a read of more pages than this stops as incomplete")
    name_lookup: Literal["list", "direct"] = Field(
        "list", description="direct: no two stacks that we see share a name, so one request finds a name"
    )
    block_state: Literal["carry", "reset"] = Field(
        "carry", description="what becomes of the state of blocks that stay when a stack's blocks are sent; reset: the platform's choice"
    )
    schedule_in_update: Literal["refuse", "send"] = Field("refuse", description="a schedule_id in an update may add one more job each time")
    nulls_in_update: Literal["refuse", "send"] = Field("refuse", description="null for a parameter that is not documented to take it")

    @model_validator(mode="after")
    def _credentials(self) -> "KragleSettings":
        if self.auth == "bearer" and self.token is None:
            raise ValueError("auth: bearer needs token (for username and password set auth: basic)")
        if self.auth == "basic" and self.token is None and (self.username is None or self.password is None):
            raise ValueError("auth: basic needs username and password, or token alone")
        return self

    @property
    def account(self) -> str:
        """Which account of the platform this is, without secrets: what two connections to the same one have in common."""
        return f"{super().account} {self.owner}" if self.owner else super().account
