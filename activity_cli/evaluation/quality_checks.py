"""What makes a figure say less than it seems to: looked for in every report, and said in words."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from activity_cli.data.balance import FEW, UNEVEN
from activity_cli.data.dataset import Sample
from activity_cli.data.leakage import Leakage, same_content
from activity_cli.evaluation.baselines import Rivalry
from activity_cli.evaluation.intervals import Figure, Figures
from activity_cli.model.metrics import Evaluation

Level = Literal["fine", "note", "warning"]

_LEAKAGE, _GROUPS = "Leakage", "Groups"
_BALANCE, _FEW_CLIPS = "Balance of labels", "Labels with few clips"
ANNOUNCED = frozenset({_LEAKAGE, _GROUPS, _BALANCE, _FEW_CLIPS})
"""Titles of what `audit` says before a training begins."""

_WIDE = 0.2
"""An accuracy whose interval is wider says little."""
_NARROWER = 4  # intervals shrink with the root of the number of clips
_BADLY_CALIBRATED = 0.1
_MOST_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that was looked for, and what was found."""

    level: Level
    title: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the checks look at."""

    samples: Sequence[Sample]
    """The clips that have a score."""
    num_left_out: int
    evaluation: Evaluation
    figures: Figures
    rivalry: Rivalry
    leakage: Leakage | None
    """None where it is not known what the model learned from."""
    about_parts: str
    """What kept apart what was learned from and what was measured on."""
    flatters: str = ""
    """Why the clips that were measured on are not new to the model; empty where they are."""


def find_pitfalls(measured: Measured) -> list[Check]:
    """All checks, those that found something first."""
    found = [
        *_flatters(measured),
        _leakage(measured),
        _same_files(measured.samples),
        _majority(measured),
        _interval(measured.figures.accuracy, measured.figures),
        _groups(measured),
        _balance(measured.evaluation),
        *_few(measured.evaluation),
        _calibration(measured.evaluation),
        _left_out(measured),
    ]
    order: Mapping[Level, int] = {"warning": 0, "note": 1, "fine": 2}
    return sorted(found, key=lambda check: order[check.level])


def _flatters(measured: Measured) -> Iterator[Check]:
    if measured.flatters:
        yield Check(level="warning", title="Measured on new clips", text=measured.flatters)


def _leakage(measured: Measured) -> Check:
    title, leakage = _LEAKAGE, measured.leakage
    if leakage is None:
        text = (
            "Not known: a model does not keep the clips it learned from. The figures hold only if "
            "none of these clips, nor copies of them, were among them."
        )
        return Check(level="note", title=title, text=text)
    if lines := leakage.found_lines():
        level: Level = "warning" if leakage.is_found else "note"
        return Check(level=level, title=title, text=" ".join(lines))
    text = f"No clip has a copy, or one of its own group, in another part ({measured.about_parts})."
    return Check(level="fine", title=title, text=text)


def _same_files(samples: Sequence[Sample]) -> Check:
    title = "Equal files"
    by_path: defaultdict[Path, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_path[sample.path].append(sample)
    sets = [[by_path[path][0] for path in paths] for paths in same_content(by_path)]
    if not sets:
        return Check(level="fine", title=title, text="No two files have the same bytes.")
    crossed = [same for same in sets if len({sample.label for sample in same}) > 1]
    shown = "; ".join(
        " = ".join(f"{s.name} ({s.label})" for s in same[:_MOST_TOLD])
        for same in [*crossed, *(same for same in sets if same not in crossed)][:_MOST_TOLD]
    )
    extra = sum(len(same) - 1 for same in sets)
    labels = f", {len(crossed)} of them with different labels" if crossed else ""
    text = (
        f"{extra} file{'s' * (extra > 1)} with the bytes of another one{labels}: {shown}. "
        "Each counts as a clip of its own; `activity check DATA` finds all copies."
    )
    return Check(level="warning", title=title, text=text)


def _majority(measured: Measured) -> Check:
    title, rival = "Better than always the same answer", measured.rivalry.of("majority")
    assert rival is not None
    told = (
        f"Always naming the most frequent label is right for {rival.accuracy.value:.1%} of these "
        f"clips, the model for {measured.evaluation.accuracy:.1%}"
    )
    if rival.gain.low > 0:
        return Check(level="fine", title=title, text=f"{told}.")
    text = f"{told}: the difference is no more than chance explains."
    return Check(level="warning", title=title, text=text)


def _interval(accuracy: Figure, figures: Figures) -> Check:
    title = "Enough clips"
    units = f"{figures.num_units} {'groups' if figures.by_group else 'clips'}"
    width = accuracy.high - accuracy.low
    told = f"With {units}, the accuracy could as well be {accuracy.low:.1%} or {accuracy.high:.1%}"
    if accuracy.low == accuracy.high:
        text = f"All draws of {units} agree, so there is no interval: too few, or too easy."
        return Check(level="note", title=title, text=text)
    if width <= _WIDE:
        return Check(level="fine", title=title, text=f"{told}.")
    text = f"{told}. It takes about {_NARROWER} times as many to halve that."
    return Check(level="warning", title=title, text=text)


def _groups(measured: Measured) -> Check:
    title = _GROUPS
    if measured.figures.by_group:
        text = (
            f"Clips belong to {measured.figures.num_units} groups; intervals count groups, not "
            "clips, as clips of one group are alike."
        )
        return Check(level="fine", title=title, text=text)
    guess = measured.leakage.guessed_lines() if measured.leakage else []
    text = (
        guess[0]
        if guess
        else (
            "The data names no person, camera or source. If several clips show the same one, the "
            "figures flatter and the intervals are too narrow: add a `group` column."
        )
    )
    return Check(level="warning" if guess else "note", title=title, text=text)


def _balance(evaluation: Evaluation) -> Check:
    title = _BALANCE
    counts = {row.label: row.num_clips for row in evaluation.per_label if row.num_clips}
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    told = f"{commonest} has {counts[commonest]} clips, {rarest} {counts[rarest]}"
    if counts[commonest] <= UNEVEN * counts[rarest]:
        same = len(set(counts.values())) == 1
        text = f"Every label has {counts[rarest]} clips." if same else f"{told}."
        return Check(level="fine", title=title, text=text)
    text = f"{told}: accuracy is mostly about {commonest}. Look at macro F1 and at each label."
    return Check(level="warning", title=title, text=text)


def _few(evaluation: Evaluation) -> Iterator[Check]:
    few = {row.label: row.num_clips for row in evaluation.per_label if row.num_clips < FEW}
    if few:
        told = ", ".join(f"{label} {count}" for label, count in list(few.items())[:5])
        more = f" and {len(few) - 5} more" * (len(few) > 5)
        text = f"{told}{more}: with fewer than {FEW} clips a label's figures are mostly luck."
        yield Check(level="warning", title=_FEW_CLIPS, text=text)


def _calibration(evaluation: Evaluation) -> Check:
    title, error = "Scores mean what they say", evaluation.calibration_error
    told = f"Scores are {100 * error:.1f} points from the share that is right, on average"
    if error <= _BADLY_CALIBRATED:
        return Check(level="fine", title=title, text=f"{told}.")
    text = f"{told}: do not read a score as a probability here. Few clips make this larger."
    return Check(level="note", title=title, text=text)


def _left_out(measured: Measured) -> Check:
    title, count = "Clips without a score", measured.num_left_out
    if not count:
        return Check(level="fine", title=title, text="Every clip was decoded.")
    share = count / (count + len(measured.samples))
    clips = f"{count} clip{'s' * (count > 1)} ({share:.1%})"
    text = f"{clips} could not be decoded and {'are' if count > 1 else 'is'} in no figure."
    return Check(level="note", title=title, text=text)
