"""The version that the client names to the server; pyproject.toml has the same."""

VERSION = "0.1.0"
