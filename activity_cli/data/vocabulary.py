"""The words that a captioner can read and write, and captions as their positions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from activity_cli.data.captions import sentence_of, words_of

END, UNKNOWN_WORD = "<end>", "<unknown>"
"""The first two entries; the end of a sentence is also what stands before its first word."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words by position; the first two are END and UNKNOWN_WORD."""

    words: tuple[str, ...]
    lower_case: bool = True

    @classmethod
    def of(cls, captions: Iterable[str], *, min_count: int, lower_case: bool) -> Self:
        """Take the words that are in at least `min_count` captions, the most frequent first."""
        counts: Counter[str] = Counter()
        for caption in captions:
            counts.update(list(dict.fromkeys(words_of(caption.lower() if lower_case else caption))))
        kept = [word for word, count in counts.most_common() if count >= min_count]
        return cls((END, UNKNOWN_WORD, *kept), lower_case)

    def encode(self, caption: str, *, max_words: int) -> list[int]:
        """Return the positions of a caption's words, of a longer one the first; END is last."""
        known = {word: position for position, word in enumerate(self.words)}
        words = words_of(caption.lower() if self.lower_case else caption)[:max_words]
        return [known.get(word, 1) for word in words] + [0]

    def sentence(self, positions: Sequence[int]) -> str:
        """Return the sentence of positions without END."""
        return sentence_of(self.words[position] for position in positions)
