"""A choice of a model's labels, under names of the user's: `--labels`. numpy alone.

C is the model's labels, K the names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import is_file
from activity_cli.errors import SettingsError
from activity_cli.model.folder import ModelDescription
from activity_cli.settings import check_labels
from activity_cli.types import UNKNOWN

Scores = NDArray[np.float32]
_SMALLEST = np.float32(1e-30)  # keeps scores that are all 0 from a division by 0


@dataclass(frozen=True, slots=True)
class LabelSelection:
    """Which labels of a model are reported, and under which names."""

    entries: tuple[str, ...]
    """Each is `label` or `label=name`; the scores of labels with one name are added."""
    keep_unknown: bool = False
    """Report the sum of all other scores as `unknown`; else the scores are renormalised."""

    @classmethod
    def read(cls, text: str, *, keep_unknown: bool) -> Self:
        """Read entries from a text with commas, or from the file of that name, one per line.

        Raises:
            SettingsError: there are none, or the file cannot be read.
        """
        parts: Iterable[str] = text.split(",")
        try:
            if is_file(Path(text)):
                parts = Path(text).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"--labels {text} cannot be read: {error}.") from error
        entries = tuple(part.strip() for part in parts if part.strip())
        if not entries:
            raise SettingsError(
                f"--labels {text!r} has no labels.", hint="For example: --labels 'walk,jog=run'."
            )
        return cls(entries, keep_unknown)

    def select(
        self, description: ModelDescription
    ) -> tuple[ModelDescription, Callable[[Scores], Scores]]:
        """Return the model with these names as labels, and what maps scores (..., C) to (..., K).

        The model's thresholds for unknown clips are left out: they are of other scores. Those of a
        multi-label model stay as they are, and so do its scores.

        Raises:
            SettingsError: the model lacks a label, one is given twice, a single name is left, or
                scores of a multi-label model would have to be added.
        """
        known = description.labels
        pairs = [(e, e) if e in known else _split(e) for e in self.entries]
        chosen = dict(pairs)
        check_labels([label for label, _ in pairs], known)
        names = tuple(dict.fromkeys([*chosen.values(), *[UNKNOWN] * self.keep_unknown]))
        if description.multi_label:
            if not self.keep_unknown and len(chosen) == len(names) == len(pairs):
                return _select_columns(description, chosen)
            raise SettingsError(
                "Scores of a multi-label model are independent: they are not added.",
                hint="Give each label once, under a name of its own, and leave out --unknown.",
            )
        if len(chosen) < len(pairs) or len(names) < 2:
            raise SettingsError(
                "--labels has a label twice."
                if len(chosen) < len(pairs)
                else f"--labels leaves one answer, {names[0]}, which would always score 100%.",
                hint="Give each label once, and at least two names, or add --unknown.",
            )
        weights = np.zeros((len(known), len(names)), np.float32)
        for row, label in enumerate(known):
            if (name := chosen.get(label, UNKNOWN if self.keep_unknown else None)) is not None:
                weights[row, names.index(name)] = 1
        background = chosen.get(description.background or "", UNKNOWN)
        selected = replace(
            description,
            labels=names,
            background=background if background in names else None,
            calibration=None,
        )

        def select(scores: Scores) -> Scores:
            kept: Scores = np.maximum(scores, _SMALLEST) @ weights
            kept /= kept.sum(axis=-1, keepdims=True)
            return kept

        return selected, select

    def __str__(self) -> str:
        """Return it as the provenance of results has it."""
        return ", ".join([*self.entries, *[UNKNOWN] * self.keep_unknown])


def _select_columns(
    description: ModelDescription, chosen: Mapping[str, str]
) -> tuple[ModelDescription, Callable[[Scores], Scores]]:
    """Select labels of a multi-label model, each under one name, with their thresholds."""
    columns = [description.labels.index(label) for label in chosen]
    calibration = description.calibration
    if calibration is not None and calibration.thresholds is not None:
        own = tuple(calibration.thresholds[column] for column in columns)
        calibration = replace(calibration, thresholds=own)
    selected = replace(description, labels=tuple(chosen.values()), calibration=calibration)
    return selected, lambda scores: scores[..., columns]


def select_labels(
    description: ModelDescription, selection: LabelSelection | None
) -> tuple[ModelDescription, Callable[[Scores], Scores]]:
    """Apply a selection; None keeps all labels and scores."""
    return selection.select(description) if selection else (description, lambda scores: scores)


def _split(entry: str) -> tuple[str, str]:
    """Split `label=name` at its last sign; both parts are the label without a name."""
    label, _, name = (part.strip() for part in entry.rpartition("="))
    return (label, name) if label and name else (entry, entry)
