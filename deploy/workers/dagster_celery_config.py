"""What `celery -A dagster_celery.app worker` is configured by: it imports a module of this name from PYTHONPATH."""

import os

broker_url = os.environ["CELERY_BROKER"]
result_backend = os.environ["CELERY_BACKEND"]
worker_prefetch_multiplier = 1  # a run waits in the queue, not behind another run of the same worker
worker_max_tasks_per_child = 50  # new processes now and then, which load the definitions anew
broker_connection_retry_on_startup = True
task_default_queue = "dagster"
