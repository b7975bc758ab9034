"""What there is to know about a measurement besides its figures, in words: names and values."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from activity_cli.common.threads import available_cpus
from activity_cli.common.wording import join_words
from activity_cli.data.dataset import Sample
from activity_cli.evaluation.intervals import Groups
from activity_cli.model.folder import ModelDescription

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.features.labelled import LabelledFeatures
    from activity_cli.features.pictures import LabelledPictures
    from activity_cli.training.crossval import CrossvalRun

Facts = Mapping[str, str]


def facts_of(data: "LabelledFeatures | LabelledPictures") -> Facts:
    """About clips that were read, and how."""
    dataset, clip = data.dataset, data.clip
    durations = [c.decoded.duration_seconds for c in data.clips if c.decoded]
    return {
        **data_facts(dataset.samples, durations, dataset.labels, dataset.groups()),
        "Read": _reading(clip.num_frames, clip.frame_size, clip.streams),
        **_made_by(data),
    }


def _made_by(data: "LabelledFeatures | LabelledPictures") -> Facts:
    """What made the features; a CNN that learns is another in each fold."""
    from activity_cli.features.labelled import LabelledFeatures

    if isinstance(data, LabelledFeatures):
        return {"CNN": data.backbone.name, "Engine": data.extractor.identity}
    return {"CNN": "learned with the classifier", "Engine": data.engine}


def data_facts(
    samples: Sequence[Sample],
    durations: Sequence[float],
    labels: Sequence[str],
    groups: Groups | None,
) -> Facts:
    """About labelled clips."""
    counts = Counter(sample.label for sample in samples)
    shown = ", ".join(f"{label} {counts[label]}" for label in labels[:20])
    more = f" and {len(labels) - 20} more labels" * (len(labels) > 20)
    seconds = np.array(durations)
    return {
        "Clips": f"{len(samples)}: {shown}{more}",
        "Length": (
            f"{seconds.min():.1f} to {seconds.max():.1f} s, median {np.median(seconds):.1f} s; "
            f"{seconds.sum() / 60:.1f} min in all"
        ),
        "Groups": str(groups.max() + 1) if groups is not None else "none named",
    }


def model_facts(description: ModelDescription) -> Facts:
    """About a model."""
    clip = description.clip
    return {
        "Model": f"{description.name}, made {description.created}",
        "CNN": description.backbone.name,
        "Read": _reading(clip.num_frames, clip.frame_size, clip.streams),
    }


def _reading(num_frames: int, frame_size: int, streams: Sequence[str]) -> str:
    names = {"rgb": "pictures", "motion": "motion images", "flow": "optical flow"}
    seen = join_words([names.get(stream, stream) for stream in streams])
    return f"{num_frames} frames of {frame_size} × {frame_size} per clip, {seen}"


def background_facts(run: "CrossvalRun") -> Facts:
    """How events are told from nothing; empty without a background label."""
    if run.background is None:
        return {}
    missed, false_alarms = run.result.evaluation.event_errors(run.background)
    told = f"{missed:.1%} of the events taken for it, {false_alarms:.1%} false alarms"
    return {f"Background: {run.background}": told}


def rejection_facts(measurement: "Measurement") -> Facts:
    """What was called unknown; empty where nobody asked."""
    if measurement.rejected is None:
        return {}
    count, accuracy = int(measurement.rejected.sum()), measurement.accuracy_of_accepted
    others = "" if accuracy is None else f"; accuracy of the others {accuracy:.1%}"
    return {"Called unknown": f"{count} clips{others}. The figures below count all clips."}


def speed_of(data: "LabelledFeatures | LabelledPictures", more: Mapping[str, float]) -> Facts:
    """Time per clip where the features were made now, then whole stages."""
    whole = {**data.stage_seconds, **more}
    seconds = {stage: f"{value:.1f} s" for stage, value in whole.items()}
    return {**stages([clip.stage_seconds for clip in data.clips]), **seconds}


def stages(stage_seconds: Sequence[Mapping[str, float]]) -> Facts:
    """Mean time per clip and stage, of clips whose features were not in the cache."""
    names = {
        "decode": "decoding",
        "cnn": "CNN",
        "lstm": "classifier",
        "network": "CNN and classifier",
    }
    fresh = [seconds for seconds in stage_seconds if seconds.get("cnn", 1.0) > 0]
    found = {}
    for stage in dict.fromkeys(stage for seconds in fresh for stage in seconds):
        mean = 1000 * np.mean([seconds.get(stage, 0.0) for seconds in fresh])
        found[f"{names.get(stage, stage)}, a clip"] = f"{mean:.1f} ms"
    if num_cached := len(stage_seconds) - len(fresh):
        found["features from the cache"] = f"{num_cached} of {len(stage_seconds)} clips"
    return found


def model_settings(description: ModelDescription) -> Mapping[str, Facts]:
    """What a model was made with."""
    return plain(
        {
            "clip": description.clip.to_json(),
            "network": description.network.to_json(),
            "training": description.training,
        }
    )


def plain(settings: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Facts]:
    """Tables of settings, in words."""
    return {
        table: {name: _value(value) for name, value in values.items() if value is not None}
        for table, values in settings.items()
    }


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def machine() -> str:
    """What it was measured on, without naming the machine."""
    cores = available_cpus()
    return (
        f"{platform.system()} {platform.machine()}, {cores} core{'s' * (cores > 1)}, "
        f"Python {platform.python_version()}"
    )
