"""Words that depend on a number."""


def count_of(number: int, noun: str) -> str:
    """The number and the noun, in the plural where there is not exactly one."""
    return f"{number} {noun}{'s' * (number != 1)}"
