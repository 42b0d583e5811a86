"""The ASGI application: HTTP to Django, WebSockets to the gateway, lifespan to the process."""

from config.env import use_default_settings

use_default_settings()

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()  # loads the apps; the routing below needs them

from notifications.routing import build_application  # noqa: E402

application = build_application(django_application)
