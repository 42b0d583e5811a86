"""Settings for production: plain HTTP behind a TLS proxy, and no unsafe default.

A missing or weak setting stops the start with a message that says what to set.
"""

from django.core.exceptions import ImproperlyConfigured

from config.settings.base import *

if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured(
        "Set SECRET_KEY to at least 32 random characters, or DEBUG=1 for development."
    )
if not ALLOWED_HOSTS or "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("Set ALLOWED_HOSTS to the host names that you serve, without '*'.")
if "*" in NOTIFICATIONS["ALLOWED_ORIGINS"]:
    raise ImproperlyConfigured(
        "Set ALLOWED_ORIGINS to exact origins (scheme://host:port), not '*'."
    )

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# The proxy that ends TLS redirects; a redirect from here would loop behind one that does not say
# how it was asked. SECURE_SSL_REDIRECT switches it on where there is none.
SILENCED_SYSTEM_CHECKS = ["security.W008"]
