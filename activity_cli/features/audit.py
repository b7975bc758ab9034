"""What is looked at and said before training: counts, groups in names, leakage."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.balance import balance_warnings, describe_counts
from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage, find_leakage
from activity_cli.errors import DataError
from activity_cli.features.labelled import DataConfig, LabelledFeatures
from activity_cli.features.pictures import LabelledPictures
from activity_cli.settings import AuditSettings, TrainSettings


def announce(dataset: Dataset, data_config: DataConfig, settings: TrainSettings) -> None:
    """Say how many clips there are of what, and what is to be known about that."""
    data_config.on_prepare(describe_counts(dataset))
    for line in balance_warnings(dataset, settings):
        data_config.on_warning(line)


def audit_parts(
    labelled: LabelledFeatures | LabelledPictures,
    part: NDArray[np.int64],
    part_names: Sequence[str],
    *,
    audit: AuditSettings,
    data_config: DataConfig,
) -> Leakage:
    """Look for what is in several parts, say it, and stop there if that was asked for.

    Args:
        labelled: N clips.
        part: (N,) position of each clip's part in `part_names`.
        part_names: train, val and test, or the names of folds.
        audit: whether to stop.
        data_config: who is told.

    Raises:
        DataError: something was found, and `strict` says that it must not be.
    """
    features = labelled.features if isinstance(labelled, LabelledFeatures) else None
    leakage = find_leakage(labelled.dataset, features, part, part_names)
    if audit.strict and leakage.is_found:
        raise DataError(
            leakage.lines()[0],
            hint="Without --strict it goes on; metrics.json then lists the pairs.",
        )
    for line in leakage.lines():
        data_config.on_warning(line)
    return leakage
