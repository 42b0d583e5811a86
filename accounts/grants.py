"""The grammar of granted patterns, which this app asks for and does not know."""

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.utils.module_loading import import_string

from accounts.conf import conf


def grant_validator() -> Callable[[str], object]:
    """Return the callable that settings.ACCOUNTS["GRANT_VALIDATOR"] names.

    Raises ImportError when there is none.
    """
    validator: Callable[[str], object] = import_string(conf().grant_validator)
    if not callable(validator):
        raise ImportError(f"{conf().grant_validator} is not callable")
    return validator


def validate_pattern(pattern: str) -> None:
    """Raise ValidationError, with the validator's message, for a pattern outside the grammar."""
    validate = grant_validator()
    try:
        validate(pattern)
    except Exception as error:  # the setting's contract: any exception is a refusal
        raise ValidationError({"pattern": str(error)}, code="pattern") from error
