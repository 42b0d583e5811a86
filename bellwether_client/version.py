"""The version that the client names to the server; pyproject.toml takes it from here."""

VERSION = "0.1.0"
