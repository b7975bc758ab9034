"""Metadata of a measurement as text: data, model, speed, settings and machine."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from activity_cli.common import count_of, join_words
from activity_cli.common.processes import available_cpus
from activity_cli.data.dataset import Sample
from activity_cli.evaluation.intervals import Groups
from activity_cli.model.folder import ModelDescription

if TYPE_CHECKING:  # these import torch, which an evaluation does not need
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.features.labelled import LabelledClips
    from activity_cli.training.crossval import CrossvalRun

Metadata = Mapping[str, str]

_STREAMS = {"rgb": "RGB frames", "motion": "motion images", "flow": "optical flow"}
_STAGES = {
    "decode": "decoding",
    "cnn": "CNN",
    "lstm": "classifier",
    "network": "CNN and classifier",
}
_MAX_LABELS = 20


def labelled_metadata(data: "LabelledClips") -> Metadata:
    """Describe labelled clips and how they were read."""
    dataset, clip = data.dataset, data.clip
    durations = [c.decoded.duration_seconds for c in data.clips if c.decoded]
    # A CNN that is trained differs from fold to fold.
    cnn = "trained with the classifier" if data.features.holds_frames else data.backbone.name
    return {
        **data_metadata(dataset.samples, durations, dataset.labels, dataset.groups()),
        "Input": _input(clip.num_frames, clip.frame_size, clip.streams),
        "CNN": cnn,
        "Engine": data.engine,
    }


def data_metadata(
    samples: Sequence[Sample],
    durations: Sequence[float],
    labels: Sequence[str],
    groups: Groups | None,
) -> Metadata:
    """Describe labelled clips."""
    counts = Counter(sample.label for sample in samples)
    shown = ", ".join(f"{label} {counts[label]}" for label in labels[:_MAX_LABELS])
    more = f" and {len(labels) - _MAX_LABELS} more labels" * (len(labels) > _MAX_LABELS)
    seconds = np.array(durations)
    return {
        "Clips": f"{len(samples)}: {shown}{more}",
        "Length": (
            f"{seconds.min():.1f} to {seconds.max():.1f} s, median {np.median(seconds):.1f} s, "
            f"total {seconds.sum() / 60:.1f} min"
        ),
        "Groups": str(groups.max() + 1) if groups is not None else "none",
    }


def model_metadata(description: ModelDescription) -> Metadata:
    """Describe a model."""
    clip = description.clip
    return {
        "Model": f"{description.name}, created {description.created}",
        "CNN": description.backbone.name,
        "Input": _input(clip.num_frames, clip.frame_size, clip.streams),
    }


def _input(num_frames: int, frame_size: int, streams: Sequence[str]) -> str:
    names = join_words([_STREAMS.get(stream, stream) for stream in streams])
    return f"{num_frames} frames of {frame_size} × {frame_size} per clip: {names}"


def background_metadata(run: "CrossvalRun") -> Metadata:
    """Describe how well events are told from the background; empty without a background label."""
    if run.background is None:
        return {}
    missed, false_alarms = run.result.evaluation.event_errors(run.background)
    return {
        f"Background: {run.background}": f"{missed:.1%} of events missed, "
        f"{false_alarms:.1%} false alarms"
    }


def rejection_metadata(measurement: "Measurement") -> Metadata:
    """Describe rejected clips; empty without rejection."""
    if measurement.rejected is None:
        return {}
    count, accuracy = int(measurement.rejected.sum()), measurement.accuracy_of_accepted
    others = "" if accuracy is None else f"; accuracy of the others {accuracy:.1%}"
    text = f"{count_of(count, 'clip')}{others}. All metrics include these clips."
    return {"Rejected as unknown": text}


def speed_of_run(data: "LabelledClips", stage_seconds: Mapping[str, float]) -> Metadata:
    """Return the time per clip, then of whole stages."""
    stages = {**data.stage_seconds, **stage_seconds}
    clips = speed_of_clips([clip.stage_seconds for clip in data.clips])
    return {**clips, **{stage: f"{seconds:.1f} s" for stage, seconds in stages.items()}}


def speed_of_clips(stage_seconds: Sequence[Mapping[str, float]]) -> Metadata:
    """Return the mean time per clip and stage, without clips whose features were cached."""
    fresh = [seconds for seconds in stage_seconds if seconds.get("cnn", 1.0) > 0]
    found = {}
    for stage in dict.fromkeys(stage for seconds in fresh for stage in seconds):
        mean = 1000 * np.mean([seconds.get(stage, 0.0) for seconds in fresh])
        found[f"{_STAGES.get(stage, stage)}, per clip"] = f"{mean:.1f} ms"
    if num_cached := len(stage_seconds) - len(fresh):
        found["features from the cache"] = f"{num_cached} of {len(stage_seconds)} clips"
    return found


def machine() -> str:
    """Describe the machine, without its name."""
    cores = count_of(available_cpus(), "core")
    return f"{platform.system()} {platform.machine()}, {cores}, Python {platform.python_version()}"
