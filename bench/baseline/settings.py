"""A small production project. What it leaves out, it leaves out in its own favour.

No sessions, no authentication, no CSRF and no admin: their middleware would run on each request.
Ours does authenticate each publish and each socket.
"""

import os

import environ

SECRET_KEY = "the-baseline-signs-nothing-and-listens-on-loopback-only"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "bench.baseline.urls"
ASGI_APPLICATION = "bench.baseline.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["channels", "rest_framework", "bench.baseline"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

DATABASES = {"default": environ.Env.db_url_config(os.environ["BENCH_DATABASE_URL"])}
# Under ASGI each request runs in a thread of its own, so a persistent connection would not
# persist; Django's pool is what its documentation advises, and the faster way here.
DATABASES["default"].update(CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 4, "max_size": 16}})

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [os.environ["BENCH_REDIS_URL"]],
            "prefix": os.environ["BENCH_PREFIX"],
        },
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
