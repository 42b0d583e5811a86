"""The ASGI application: HTTP to Django, WebSockets to the gateway, lifespan to the process."""

import warnings

from config.env import use_default_settings

use_default_settings()
# WhiteNoise opens small files synchronously; Django would say so at the first one.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()  # loads the apps; the routing below needs them

from notifications.routing import build_application  # noqa: E402

application = build_application(django_application)
