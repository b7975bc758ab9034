"""The model `kinetics600`: the action network with the classifier of 600 actions that it came with.

It has no folder: its weights are the file that `features.action_weights` finds. Light to import.
"""

from activity_cli.features.action_weights import (
    FEATURE_SIZE,
    FRAME_SIZE,
    LICENCE,
    NAME,
    SHA256,
    SOURCE,
    action_weights_file,
    find_action_weights,
    kinetics600_labels,
)
from activity_cli.features.backbones import Backbone
from activity_cli.model.folder import Model, ModelDescription
from activity_cli.settings import DEFAULT_MODEL, KINETICS600, ClipSettings, NetworkSettings

_WINDOW_SECONDS = 3.2
"""16 frames at the 5 a second that the network was trained on."""


def describe_kinetics600() -> ModelDescription:
    """Describe the model, whether or not its weights are on this machine."""
    return ModelDescription(
        name=KINETICS600,
        labels=kinetics600_labels(),
        clip=ClipSettings(num_frames=16, frame_size=FRAME_SIZE, streams=("action",)),
        network=NetworkSettings(temporal="mean"),
        backbone=Backbone(
            name=NAME, weights_sha256=SHA256, feature_size=FEATURE_SIZE, frame_size=FRAME_SIZE
        ),
        engine="as published",
        # Top-1 on Kinetics-600 of the file, and of the network before its weights became int8.
        metrics={"published_accuracy": 0.65, "published_float_accuracy": 0.7205},
        data={
            "source": SOURCE,
            "licence": LICENCE,
            "clip_seconds": dict.fromkeys(("min", "median", "max"), _WINDOW_SECONDS),
        },
        created="2021-03-21",
    )


def load_kinetics600() -> Model:
    """Return the model; a BackboneError if its weights are not on this machine, or damaged."""
    folder = action_weights_file().parent
    return Model(folder=folder, description=describe_kinetics600(), weights_sha256=SHA256)


def default_model() -> str:
    """Return the model that is used without a choice: kinetics600 if its weights are here."""
    return KINETICS600 if find_action_weights() else DEFAULT_MODEL
