"""Words that depend on numbers."""

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """The number and the noun, in the plural where there is not exactly one."""
    return f"{number} {noun}{'s' * (number != 1)}"


def describe_parts(num_train: int, num_val: int, num_test: int) -> str:
    """What the clips of a split are for."""
    choosing = f"{num_val}" if num_val else "inner folds of them"
    return (
        f"{num_train} clips to learn from, {choosing} to choose the best epoch, {num_test} held out"
    )


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
