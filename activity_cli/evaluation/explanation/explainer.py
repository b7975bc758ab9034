"""A video and a model -> an explanation. Imports torch when it is called."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from activity_cli.errors import ModelError, SettingsError, VideoError
from activity_cli.evaluation.explanation.values import Explanation
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import Model, load_model
from activity_cli.predict.exported import is_exported
from activity_cli.predict.local_predictor import load_scorer
from activity_cli.predict.results.journal import SUFFIX as JOURNAL_SUFFIX
from activity_cli.settings import show_labels
from activity_cli.types import Clip, Prediction
from activity_cli.video.clips import read_clip
from activity_cli.video.decoder_pool import DecoderPool, Decoders

if TYPE_CHECKING:
    from activity_cli.features.cnn import FrameFeatures
    from activity_cli.features.movinet import ActionFeatures
    from activity_cli.model.network import ClipScorer

_RESULT_SUFFIXES = frozenset({".csv", ".jsonl", ".json", ".parquet", JOURNAL_SUFFIX})
_LSTM_UNUSED = (
    "its output layer is zero, because in training it was not significantly better than the mean "
    "of the frames; gates and attention have no effect"
)
_NO_LSTM = {
    "mean": "this model has none; it uses the mean of the frames",
    "frame": "this model has none; it uses the middle frame only",
}


def check_request(request: ClipRequest, name: str, *, label: str | None) -> Model:
    """Load a model that can explain this label of this video.

    Raises:
        ModelError: there is no such model, or it is an exported model.
        SettingsError: the file holds results, or the model does not have the label.
    """
    if is_exported(Path(name)):
        raise ModelError(
            f"{name} is an exported model: it gives scores only.",
            hint="Explain with the run folder or model folder that it was exported from.",
        )
    if request.path.suffix.lower() in _RESULT_SUFFIXES:
        raise SettingsError(
            f"{request.path} holds results, not a video.",
            hint="Give one of the videos in its rows.",
        )
    model = load_model(name)
    labels = model.description.labels
    if label is not None and label not in labels:
        raise SettingsError(
            f"{model.description.name} has no label {label!r}.",
            hint=f"Its labels: {show_labels(labels, [label])}.",
        )
    return model


def explain_video(
    model: Model,
    request: ClipRequest,
    *,
    label: str | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Explain a label of a video, or of a piece of it, taken as one clip.

    Without a label, explain the one with the highest score. Notes on the clip go to `on_note`.

    Raises:
        VideoError: the video gives no frames.
        ModelError, BackboneError: the model's weights cannot be read.
    """
    from activity_cli.features.cnn import build_cnn
    from activity_cli.features.movinet import build_action_features

    with closing(DecoderPool(Decoders(num_workers=1))) as pool:
        try:
            clip = pool.reader().call(
                read_clip,
                request.path,
                model.description.clip,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
            )
        except VideoError as error:
            raise VideoError(f"{request.path}: {error.message}", hint=error.hint) from error
    if clip.decoded.reason:
        on_note(f"{clip.decoded.status}: {clip.decoded.reason}")
    description, seconds = model.description, clip.decoded.duration_seconds
    windows = description.windows()
    if seconds > windows.max_clip_seconds:
        on_note(
            f"{seconds:.1f} s are explained as one clip, but the model was trained on clips of "
            f"about {windows.window_seconds:.1f} s. Choose a piece with --start and --end."
        )
    cnn = build_cnn(description.backbone) if set(clip.images) - {"action"} else None
    action = build_action_features() if "action" in clip.images else None
    scorer = load_scorer(model)
    return explain_clip(model, request, clip, cnn=cnn, action=action, scorer=scorer, label=label)


def explain_clip(
    model: Model,
    request: ClipRequest,
    clip: Clip,
    *,
    cnn: "FrameFeatures | None",
    action: "ActionFeatures | None" = None,
    scorer: "ClipScorer",
    label: str | None = None,
) -> Explanation:
    """Explain a decoded clip with loaded networks; arguments as of `explain_video`.

    `cnn` and `action` are those that the model's streams need.
    """
    import torch

    from activity_cli.evaluation.explanation import attribution, heatmaps
    from activity_cli.features.movinet import Kinetics600Classifier

    description = model.description
    scorer.eval().requires_grad_(False)
    parts, stage = [], "the last stage of the action network"
    if cnn is not None:
        pictures = [images for stream, images in clip.images.items() if stream != "action"]
        images = np.concatenate(pictures)  # (S * T, H, W, channels)
        stage = heatmaps.last_stage(cnn, torch.from_numpy(images[:1]))
        parts.append(heatmaps.run_cnn(cnn, stage, images))
    if action is not None:
        parts.append(heatmaps.run_action(action, clip.images["action"]))
    features = heatmaps.join_features(parts, description.feature_shape)
    logits = scorer.classifier(features[None])[0].detach()
    logits, multi_label = logits / scorer.temperature, description.multi_label
    scores = (torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)).numpy()
    prediction = Prediction(
        labels=description.labels, scores=scores, thresholds=description.thresholds
    )
    label = label or description.labels[int(scores.argmax())]
    number = description.labels.index(label)
    weights = attribution.evidence_weights(
        len(scores), number, scorer.temperature, multi_label=multi_label
    )
    if isinstance(scorer.classifier, Kinetics600Classifier):
        network, features = attribution.linear_at(scorer.classifier, features)
        members = [network]
    else:
        members = attribution.members_of(scorer.classifier)
    heat = heatmaps.heat_by_part(parts, heatmaps.evidence_terms(members, features, weights))
    fixed = features.detach()
    lstm = attribution.trace_members(members, fixed, weights)
    return Explanation(
        video=request.path,
        model=description.name,
        prediction=prediction,
        label=label,
        decoded=clip.decoded,
        start_seconds=request.start_seconds or 0.0,
        importance=attribution.measure_importance(members, fixed, weights),
        images=clip.images,
        heat=dict(zip(clip.images, np.split(heat, len(clip.images)), strict=True)),
        stage=stage,
        lstm=lstm,
        lstm_unused="" if lstm else _NO_LSTM.get(members[0].temporal, _LSTM_UNUSED),
        has_lstm=members[0].temporal == "lstm",
        num_members=len(members),
    )
