"""How many clips each label has, and what to do where that is uneven or few."""

from activity_cli.data.dataset import Dataset
from activity_cli.settings import TrainSettings

UNEVEN = 3
"""So many times as many clips as the rarest label has are called uneven."""
FEW = 10
"""A label with fewer clips is learned badly and measured worse: 9 of 10 has an interval from
0.60 to 0.98."""
_MOST_LABELS = 10


def describe_counts(dataset: Dataset) -> str:
    """How many clips there are of what, in a line."""
    counts = dataset.counts()
    total = f"{len(dataset.samples)} clips of {len(counts)} labels"
    if len(counts) > _MOST_LABELS:
        return f"{total}, {min(counts.values())} to {max(counts.values())} of each."
    return f"{total}: {', '.join(f'{label} {count}' for label, count in counts.items())}."


def balance_warnings(dataset: Dataset, settings: TrainSettings) -> list[str]:
    """What to know about the counts before training on them, a line each."""
    counts = dataset.counts()
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    lines = []
    if counts[commonest] > UNEVEN * counts[rarest]:
        lines.append(
            f"Uneven: {commonest} has {counts[commonest]} clips, {rarest} {counts[rarest]}. "
            f"{_remedy(settings)} Look at F1 more than at accuracy."
        )
    few = {label: count for label, count in counts.items() if count < FEW}
    if few:
        told = ", ".join(f"{label} {count}" for label, count in list(few.items())[:5])
        more = f" and {len(few) - 5} more labels" * (len(few) > 5)
        lines.append(
            f"Few clips: {told}{more}. Below {FEW} a label's figures are mostly luck: add clips, "
            "and measure with `activity crossval`, which tests on every clip."
        )
    return lines


def _remedy(settings: TrainSettings) -> str:
    if settings.class_weights == "none":
        return "Add --class-weights balanced, so that rare labels count as much."
    return "The class weights make up for it."
