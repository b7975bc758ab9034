"""Suggested groups of labelled clips, and the search for leaks between parts of a split."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.inspection.duplicates import are_copies
from activity_cli.data.leakage import Leakage, find_leakage
from activity_cli.data.scene_groups import (
    MOST_CLIPS,
    SuggestedGroups,
    require_groups,
    suggest_groups,
)
from activity_cli.errors import DataError
from activity_cli.features.labelled import DataConfig, LabelledClips
from activity_cli.settings import AUTO_GROUPS, AuditSettings


def suggest(labelled: LabelledClips) -> SuggestedGroups | None:
    """Suggest groups by names, or by the features of the frames; None where the data has groups."""
    data = labelled.features
    stream = next((s for s in ("rgb", "action") if s in data.streams), None)
    scenes = None
    if stream is not None and len(data.values) <= MOST_CLIPS:
        number = data.streams.index(stream)
        clips = (np.asarray(clip[number], np.float32).mean(axis=0) for clip in data.values)
        scenes = np.stack([np.ravel(_coarse(clip)) for clip in clips])
    return suggest_groups(labelled.dataset, scenes)


def _coarse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features as they are, and of (H, W, channels) pictures at most 16 x 16 places."""
    if values.ndim == 1:
        return values
    rows, columns = (max(1, side // 16) for side in values.shape[:2])
    return values[::rows, ::columns]


def with_groups(labelled: LabelledClips, groups: SuggestedGroups) -> LabelledClips:
    """Return the clips with suggested groups."""
    return replace(
        labelled,
        dataset=groups.apply(labelled.dataset),
        features=replace(labelled.features, groups=groups.numbers),
    )


def settle_groups(
    labelled: LabelledClips, audit: AuditSettings, config: DataConfig
) -> tuple[LabelledClips, SuggestedGroups | None]:
    """Apply the suggested groups where `--groups auto` asks for them, and return these as well.

    Raises:
        DataError: neither names nor scenes suggest groups.
    """
    if audit.groups != AUTO_GROUPS or labelled.features.groups is not None:
        return labelled, None
    groups = require_groups(labelled.dataset, suggest(labelled))
    config.on_prepare(f"Groups: {groups.describe()}.")
    return with_groups(labelled, groups), groups


def audit_parts(
    labelled: LabelledClips,
    part: NDArray[np.int64],
    part_names: Sequence[str],
    *,
    audit: AuditSettings,
    data_config: DataConfig,
) -> Leakage:
    """Search for clips that are in several parts, warn about them, or stop if that was asked for.

    `part` (N,) is the position of each clip's part in `part_names`: train, val, test; or folds.

    Raises:
        DataError: leakage was found, and `strict` forbids it.
    """
    features = labelled.features
    values = None if features.holds_frames else features.values
    leakage = find_leakage(
        labelled.dataset,
        values,
        part,
        part_names,
        suggest(labelled),
        confirm=partial(are_copies, num_workers=data_config.decoders.num_workers),
    )
    if audit.strict and leakage.is_found:
        raise DataError(
            leakage.lines()[0],
            hint="Without --strict training continues; metrics.json then lists the pairs.",
        )
    for line in leakage.lines():
        data_config.on_warning(line)
    return leakage
