"""The networks of a cross-validation's folds as one model, whose logits are their mean.

Every member learned from all folds but one, so together they saw every clip, and each clip has a
member that did not: its score is what the model is measured and calibrated by. The whole model was
measured on nothing, as there is nothing left.

Logits are averaged, not scores: one temperature divides their mean as it divides one network's
logits, so calibration, engines and exports take the ensemble as they take a network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from activity_cli.errors import SettingsError
from activity_cli.features.labelled import LabelledFeatures
from activity_cli.model.folder import Model, ModelDescription, Weights, member_name, save_model
from activity_cli.model.ood import learn_familiarity
from activity_cli.settings import NetworkSettings, TrainSettings
from activity_cli.training.run import clip_seconds

if TYPE_CHECKING:
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.head import FittedNetwork

MEASURED_ON = "out of fold"


def save_ensemble(
    run: "CrossvalRun",
    folder: Path,
    *,
    name: str,
    network: NetworkSettings,
    settings: TrainSettings,
) -> Model:
    """Write the networks of a cross-validation as one model folder.

    Its temperature and rule for unknown clips are those of the out-of-fold scores; what the
    training clips look like comes from all of them.

    Args:
        run: the cross-validation.
        folder: for the model.
        name: of the model.
        network: shape of each member.
        settings: how each was fitted.

    Raises:
        SettingsError: the folds' CNNs differ.
        OutputError: the folder cannot be written.
    """
    data, result = run.data, run.result
    if not isinstance(data, LabelledFeatures):
        raise SettingsError(
            "Networks whose CNNs were changed, each in its own way, cannot be one model.",
            hint="Leave out --ensemble, or use --cnn frozen.",
        )
    sizes = {fold.name: fold.num_clips for fold in result.folds}
    description = ModelDescription(
        name=name,
        labels=data.dataset.labels,
        clip=data.clip,
        network=network,
        num_members=len(result.networks),
        backbone=data.backbone,
        engine=data.extractor.identity,
        metrics={"measured_on": MEASURED_ON, **result.evaluation.to_json()},
        data={
            "source": data.dataset.root.name,
            "num_clips": len(data.targets),
            "clips_per_label": data.dataset.counts(),
            "clip_seconds": clip_seconds(data),
            "num_left_out": len(data.left_out),
            "folds": {"clips": sizes, "by": run.folds.by},
        },
        training={**settings.to_json(), "best_epoch": [fold.best_epoch for fold in result.folds]},
        calibration=result.calibration,
        background=run.background,
    )
    familiarity = learn_familiarity(data.features, np.arange(len(data.targets)))
    return save_model(folder, description, ensemble_weights(result.networks), familiarity)


def ensemble_weights(networks: "Sequence[FittedNetwork]") -> Weights:
    """The tensors of all members by name, for the model folder."""
    return {
        member_name(number, name): tensor
        for number, fitted in enumerate(networks)
        for name, tensor in fitted.weights().items()
    }
