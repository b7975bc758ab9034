"""Files, tables, settings files, optional dependencies, worker processes; texts with numbers."""

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """Return the number and the noun, in the plural unless there is exactly one."""
    return f"{number} {noun}{'s' * (number != 1)}"


def and_more(words: Sequence[str], most: int, noun: str = "") -> str:
    """Join at most so many words: `a, b and 3 more`, or `a, b and 3 more labels`."""
    more = f" and {len(words) - most} more {noun}".rstrip() if len(words) > most else ""
    return ", ".join(words[:most]) + more


def describe_parts(num_train: int, num_val: int, num_test: int) -> str:
    """Describe a split and what chose the best epoch."""
    chosen = f"on {num_val} validation clips" if num_val else "by cross-validation on these"
    return f"{num_train} training clips, best epoch chosen {chosen}; {num_test} test clips"


def join_words(words: Sequence[str]) -> str:
    """Join words: `a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
