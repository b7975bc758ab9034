"""Words that depend on numbers."""

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """The number and the noun, in the plural where there is not exactly one."""
    return f"{number} {noun}{'s' * (number != 1)}"


def describe_parts(num_train: int, num_val: int, num_test: int) -> str:
    """Return the sizes of a split, and how the best epoch is chosen."""
    if num_val:
        return f"Train {num_train}, validation {num_val}, test {num_test}"
    return (
        f"Train {num_train}, test {num_test}. "
        "Best epoch chosen by cross-validation on the training clips"
    )


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
