"""Every error of this app: what a door answers when credentials prove nothing.

::

    AccountsError
    ├── CredentialsError              code UNAUTHENTICATED
    │   ├── InvalidTokenError         not one of our access tokens, or revoked
    │   ├── TokenExpiredError         code TOKEN_EXPIRED
    │   ├── InvalidApiKeyError        unknown, wrong, expired or revoked: all alike
    │   ├── InvalidRefreshTokenError  unknown, spent, expired or revoked: all alike
    │   └── LoginRefusedError         unknown user, wrong password, inactive user: all alike
    └── NameTakenError

Each message says what to do, and nothing that tells one cause from another.
"""

from typing import ClassVar


class AccountsError(Exception):
    """Anything that this app refuses."""


class CredentialsError(AccountsError):
    """Credentials that prove nothing; `code` is the protocol's error code."""

    code: ClassVar[str] = "UNAUTHENTICATED"
    advice: ClassVar[str] = "Send valid credentials."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.advice)


class InvalidTokenError(CredentialsError):
    """The text is no access token of ours, or its user or family is no longer welcome."""

    advice = "The access token is not valid. Log in again."


class TokenExpiredError(CredentialsError):
    """The access token was good once."""

    code = "TOKEN_EXPIRED"
    advice = "The access token has expired. Get a fresh one with the refresh token."


class InvalidApiKeyError(CredentialsError):
    """The text is no API key in force."""

    advice = "The API key is not valid. Ask an operator for a new one."


class InvalidRefreshTokenError(CredentialsError):
    """The text is no refresh token that may be used."""

    advice = "The refresh token is not valid. Log in again."


class LoginRefusedError(CredentialsError):
    """The user name and the password do not belong together."""

    advice = "The user name or the password is wrong."


class NameTakenError(AccountsError):
    """A user or an API key in force has this name already."""
