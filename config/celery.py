"""The Celery application: `celery -A config worker` and `celery -A config beat`."""

from celery import Celery

from config.env import use_default_settings

use_default_settings()

app = Celery("bellwether")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["notifications"])
