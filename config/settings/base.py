"""Settings that every environment shares. Values come from config/env.py only."""

import sys
from datetime import timedelta
from typing import Any

from csp.constants import NONE, SELF

from config.env import BASE_DIR, env, seconds
from config.logging import configure_logging

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"

# The static directory too: WhiteNoise warns of one that is not there.
(BASE_DIR / "var" / "static").mkdir(parents=True, exist_ok=True)

DEBUG = False
SECRET_KEY = env.str("SECRET_KEY", default="")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    # Before staticfiles: it provides runserver over ASGI. Nothing else needs it, and it is large.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "config.admin.BellwetherAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "notifications",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- The log: SQLite for one process, PostgreSQL for many -------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db(
        "DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'var' / 'bellwether.sqlite3'}"
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["CONN_MAX_AGE"] = None  # opening a file again and again costs more
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that will write takes the write lock at its start, where the
        # busy timeout applies, and not at its first write, where SQLite would fail at once.
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        # FULL: in WAL mode, NORMAL may lose acknowledged messages when the power fails.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;"
        ),
    }
else:
    DATABASES["default"].update(
        CONN_MAX_AGE=0,  # Django's pool wants connections given back after each use
        OPTIONS={
            "pool": {
                "min_size": 1,
                "max_size": env.int("DATABASE_POOL_SIZE", 16),
                "timeout": 1.5,  # a publisher has its 503 within two seconds
                # The pool doubles its pause between attempts until it gives up, and then begins
                # anew: with its default of five minutes a database that is back goes unnoticed.
                "reconnect_timeout": 2,
            },
            "connect_timeout": 2,
            # The timeouts below run on the server. These notice a server that fell silent, which
            # the kernel alone would wait for a quarter of an hour.
            "tcp_user_timeout": 4000,
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "options": "-c statement_timeout=5000 -c lock_timeout=2000",
        },
    )

# --- The bus: in this process, or Redis for many ----------------------------------------------

REDIS_URLS: list[str] = env.list("REDIS_URL", default=[])
if REDIS_URLS:
    CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [
                    {"address": url, "socket_timeout": 5, "socket_connect_timeout": 2}
                    for url in REDIS_URLS
                ],
                "prefix": env.str("NOTIFICATIONS_BUS_PREFIX", default="bellwether"),
            },
        }
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            # No expiry of groups: after a day, the usual one, nobody would be in them any more.
            "CONFIG": {"capacity": 10_000, "group_expiry": 10**9},
        }
    }

# --- Celery -----------------------------------------------------------------------------------

CELERY_BROKER_URL = env.str(
    "CELERY_BROKER_URL", default=REDIS_URLS[0] if REDIS_URLS else "memory://"
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
_SWEEP_PAUSE = seconds("SWEEP_INTERVAL", 60)
_SWEEP_PAUSES = {
    "outbox": _SWEEP_PAUSE,
    "dead_servers": _SWEEP_PAUSE,
    "unresumed_sessions": _SWEEP_PAUSE,
    "idempotency_keys": _SWEEP_PAUSE,
    "expired_messages": _SWEEP_PAUSE,
    "retention": _SWEEP_PAUSE,
    "token_families": _SWEEP_PAUSE,
    # Clients wait for what they did not acknowledge, and policies may say so within seconds.
    "deliveries": min(_SWEEP_PAUSE, 5),
    "redeliveries": _SWEEP_PAUSE,
}
CELERY_BEAT_SCHEDULE = {
    f"sweep-{name.replace('_', '-')}": {
        "task": f"notifications.tasks.sweep_{name}",
        "schedule": timedelta(seconds=pause),
        # A worker that was away finds one run of each sweep waiting, not an hour of them.
        "options": {"expires": pause},
    }
    for name, pause in _SWEEP_PAUSES.items()
}

# --- REST -------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["notifications.api.bodies.BoundedJsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "notifications.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Bellwether",
    "DESCRIPTION": "Publish to topics, read their history, see who is connected.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "OAS_VERSION": "3.1.0",  # the records' schemas are JSON Schema of 2020-12, as its are
    "POSTPROCESSING_HOOKS": ["notifications.api.documentation.complete"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Static files and the browser's defences --------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
WHITENOISE_USE_FINDERS = True
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ("/api/docs",),  # Swagger UI writes inline scripts and styles
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
SECURE_REFERRER_POLICY = "same-origin"

# --- accounts ---------------------------------------------------------------------------------

ACCOUNTS = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=seconds("ACCESS_TOKEN", 900)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    # kid:alg:secret, comma separated; the first signs. Empty: one HS256 key out of SECRET_KEY.
    "TOKEN_KEYS": env.list("NOTIFICATIONS_TOKEN_KEYS", default=[]),
    "GRANT_VALIDATOR": "notifications.topics.grammar.parse_pattern",
}

# --- notifications (read through notifications/conf.py, which documents each) -----------------

NOTIFICATIONS = {
    "ALLOWED_ORIGINS": env.list("ALLOWED_ORIGINS", default=[]),
    "TRUSTED_PROXIES": env.list("NOTIFICATIONS_TRUSTED_PROXIES", default=[]),
    "PARTITIONS": env.int("NOTIFICATIONS_PARTITIONS", default=16),
    "FRAME_BYTES": env.int("NOTIFICATIONS_FRAME_BYTES", default=65_536),
    "BUFFER_BYTES": env.int("NOTIFICATIONS_BUFFER_BYTES", default=1_048_576),
    "REPLAY_MAX_MESSAGES": env.int("NOTIFICATIONS_REPLAY_MAX_MESSAGES", default=10_000),
    "REPLAY_CACHE_BYTES": env.int("NOTIFICATIONS_REPLAY_CACHE_BYTES", default=67_108_864),
    "RATE_LIMITS": env.str("NOTIFICATIONS_RATE_LIMITS", default="on") != "off",
    "MAX_CONNECTIONS": env.int("NOTIFICATIONS_MAX_CONNECTIONS", default=10_000),
    "MAX_CONNECTIONS_PER_USER": env.int("NOTIFICATIONS_MAX_CONNECTIONS_PER_USER", default=100),
    "ACCEPTS_PER_SECOND": env.int("NOTIFICATIONS_ACCEPTS_PER_SECOND", default=1_000),
    "RETRY_POLICIES": env.str("NOTIFICATIONS_RETRY_POLICIES", default=""),
    "METRICS_TOKEN": env.str("NOTIFICATIONS_METRICS_TOKEN", default=""),
    "AUTH_TIMEOUT": seconds("AUTH_TIMEOUT", 5),
    "HEARTBEAT_INTERVAL": seconds("HEARTBEAT_INTERVAL", 30),
    "HEARTBEAT_TIMEOUT": seconds("HEARTBEAT_TIMEOUT", 5),
    "WRITE_TIMEOUT": seconds("WRITE_TIMEOUT", 30),
    "RETENTION": seconds("RETENTION", 604_800),
    "IDEMPOTENCY": seconds("IDEMPOTENCY", 86_400),
    "SESSION": seconds("SESSION", seconds("RETENTION", 604_800)),
    "SWEEP_INTERVAL": seconds("SWEEP_INTERVAL", 60),
    "DRAIN_WINDOW": seconds("DRAIN_WINDOW", 30),
    # The embedded default runs the sweeps inside the server; with Celery beat, set this to off.
    "EMBEDDED_SWEEPS": env.bool("NOTIFICATIONS_EMBEDDED_SWEEPS", default=True),
}

LOGGING_CONFIG = None
configure_logging(json=env.bool("LOG_JSON", default=False), level=env.str("LOG_LEVEL", "INFO"))
