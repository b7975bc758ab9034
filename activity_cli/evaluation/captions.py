"""How well sentences fit those that people wrote: BLEU, chrF, ROUGE-L and CIDEr, with intervals.

BLEU and chrF are computed by sacrebleu, ROUGE-L and CIDEr by pycocoevalcap. Its tokenizer needs
Java, so sentences are split into words here: in lower case, without punctuation, as it does. N is
clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.captions import words_of
from activity_cli.data.dataset import Sample
from activity_cli.errors import MissingExtraError
from activity_cli.evaluation.intervals import Estimate, Groups, bootstrap
from activity_cli.training.describing.run import BLIND, FREQUENT, NEAREST
from activity_cli.types import Caption

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "chrF", "ROUGE-L", "CIDEr")
MODEL = "model"
TITLES: Mapping[str, str] = {
    MODEL: "The model",
    FREQUENT: "Most frequent caption of the training clips",
    NEAREST: "Caption of the nearest training clip",
    BLIND: "The decoder without pictures",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Clips with the captions of people, of a model and of baselines; N of each."""

    samples: tuple[Sample, ...]
    seconds: tuple[float, ...]  # length of each
    captions: tuple[tuple[Caption, ...], ...]  # of the model, the best sentence first
    baselines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Groups | None = None  # (N,)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionScores:
    """Metrics of sentences by one source: higher is better, 1 is perfect, CIDEr up to 10."""

    name: str
    metrics: Mapping[str, Estimate]
    cider: NDArray[np.float64]  # (N,) of each clip

    def to_json(self) -> dict[str, Any]:
        """Return [value, low, high] of each metric."""
        return {
            name: [round(value, 4) for value in (one.value, one.low, one.high)]
            for name, one in self.metrics.items()
        }


def require_metrics() -> None:
    """Raise a MissingExtraError where the libraries that compute the metrics are absent."""
    if not all(map(find_spec, ("pycocoevalcap", "sacrebleu"))):
        both = "sacrebleu and pycocoevalcap"
        raise MissingExtraError("Measuring sentences", package=both, extra="describe")


def score_described(found: Described) -> tuple[CaptionScores, ...]:
    """Score the sentences of the model and of each baseline; a MissingExtraError without the extra.

    Intervals resample groups, or clips where there are none.
    """
    require_metrics()
    references = [sample.captions for sample in found.samples]
    sources = {MODEL: tuple(best[0].text for best in found.captions), **found.baselines}
    return tuple(
        _score(name, sentences, references, found.groups) for name, sentences in sources.items()
    )


def _score(
    name: str,
    sentences: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Groups | None,
) -> CaptionScores:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    said = [_tokens(sentence) for sentence in sentences]
    right = [[_tokens(caption) for caption in captions] for captions in references]
    most = max(map(len, right))
    # sacrebleu takes a list per reference; None where a clip has fewer.
    columns = [[one[n] if n < len(one) else None for one in right] for n in range(most)]
    corpus = [
        BLEU(tokenize="none", max_ngram_order=n, force=True, smooth_method="none")
        for n in range(1, 5)
    ]
    metrics = {}
    for title, metric in zip(METRICS, [*corpus, CHRF()], strict=False):
        # The sums of these counts over clips give the score of the corpus; resamples are sums too.
        counts = np.array(metric._extract_corpus_statistics(said, columns), np.float64)
        [metrics[title]] = bootstrap(counts, groups, partial(_of_totals, metric))
    keys = range(len(said))
    gts, res = dict(zip(keys, right, strict=True)), {n: [said[n]] for n in keys}
    each = {"ROUGE-L": Rouge(), "CIDEr": Cider()}
    for title, scorer in each.items():
        values = each[title] = scorer.compute_score(gts, res)[1]
        sums = np.stack([np.asarray(values, np.float64), np.ones(len(said))], axis=1)
        [metrics[title]] = bootstrap(sums, groups, lambda totals: totals[:, :1] / totals[:, 1:])
    return CaptionScores(name=name, metrics=metrics, cider=np.asarray(each["CIDEr"], np.float64))


def _of_totals(metric: Any, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = totals.astype(np.int64).tolist()
    return np.array([[metric._compute_score_from_stats(row).score / 100] for row in rows])


def _tokens(sentence: str) -> str:
    """Return the words in lower case with spaces between them, without punctuation."""
    return " ".join(word for word in words_of(sentence.lower()) if word[0].isalnum())
