"""What a Stacker connection may set: credentials, and one choice for each thing its documents leave open. Pure."""

from typing import Literal

from pydantic import Field

from connectors.settings import ConnectionSettings, Secret


class StackerSettings(ConnectionSettings):
    """Defaults are the safest reading of the documents; the README says what each silence may cost."""

    integration_key: Secret = Field(description="Account Settings > Integrations; it is personal and sees what its owner sees")
    account_id: str | None = Field(None, description="unset: the one account the key sees")
    stack_id: str = Field(description="the application; no endpoint lists them")
    path_id: Literal["auto", "sid", "api_name"] = Field(
        "auto", description="what names an object in a path; auto: the sid, else the api_name"
    )
    keyset: Literal["auto", "no"] = Field(
        "auto", description="auto: order by sid and continue after the last one, as long as every page proves it"
    )
    total: Literal["auto", "ignore"] = Field("auto", description="ignore: the total of this platform is known to be wrong")
    max_pages: int = Field(100_000, gt=0, description="a read of more pages than this stops as incomplete")
    patch_nulls: Literal["write", "refuse"] = Field("write", description="what to do with null in an update")
    bulk_updates: Literal["off", "by_sid"] = Field("off", description="by_sid: one bulk call for many updates, each marked by its sid")
    bulk_failure: Literal["probe", "atomic", "partial"] = Field(
        "probe", description="whether a refused bulk call may have written some records; probe: look some of them up before saying so"
    )

    @property
    def account(self) -> str:
        """Which account of the platform this is, without secrets: what two connections to the same one have in common."""
        return f"{super().account} {self.stack_id}"
