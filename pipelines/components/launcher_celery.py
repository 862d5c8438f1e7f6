"""Dagster's Celery launcher, which can also tell whether a person's command still lives: no task of Celery's carries that out."""

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from pipelines.components.launcher import health_of

__all__ = ["Launcher"]


class Launcher(CeleryRunLauncher):
    """Runs are tasks of Celery's workers, or the process of a person's command."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's task, or process, lives."""
        return super().check_run_worker_health(run) if DAGSTER_CELERY_TASK_ID_TAG in run.tags else health_of(run)

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What Celery knows of the run's task; None where it has none."""
        return super().get_run_worker_debug_info(run, include_container_logs) if DAGSTER_CELERY_TASK_ID_TAG in run.tags else None
