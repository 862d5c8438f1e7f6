"""The Dagster face of a sync: one spec becomes assets, checks, a job and a schedule."""

from pipelines.components.component import SyncComponent

__all__ = ["SyncComponent"]
