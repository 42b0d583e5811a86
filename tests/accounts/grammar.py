"""A stand-in for the grammar of topics, so that these tests stand without the other app."""


def refuse_spaces(pattern: str) -> str:
    """Refuse what no grammar of topics would take."""
    if " " in pattern:
        raise ValueError(f"A pattern has no spaces: {pattern!r}.")
    return pattern


not_callable = "a validator must be callable"
