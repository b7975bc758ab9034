"""A video and a model -> an explanation. Imports torch when it is called."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from activity_cli.errors import ModelError, SettingsError, VideoError
from activity_cli.evaluation.explanation.values import Explanation, InnerLife
from activity_cli.features import backbones
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import Model, load_model
from activity_cli.predict.exported.loading import is_exported
from activity_cli.predict.model_predictor import load_scorer
from activity_cli.predict.results.journal import SUFFIX as JOURNAL_SUFFIX
from activity_cli.types import Clip, Prediction
from activity_cli.video.clips import read_clip
from activity_cli.video.decoder_pool import DecoderPool, Decoders
from activity_cli.video.windows import choose_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from activity_cli.evaluation.explanation.heatmaps import Said
    from activity_cli.features.cnn import FrameFeatures
    from activity_cli.model.network import ClipScorer, SequenceClassifier

_RESULTS = frozenset({".csv", ".jsonl", ".json", ".parquet", JOURNAL_SUFFIX})
_SWITCHED_OFF = (
    "its output layer is zero, as in training it gained no more than chance would over the mean of "
    "the frames, so its gates and attention decide nothing"
)
_NO_LSTM = {
    "mean": "this model has none and reads the mean of the frames",
    "frame": "this model has none and reads the middle frame alone",
}


def check_request(request: ClipRequest, name: str, *, label: str | None) -> Model:
    """Load the model that a user asks for, and see that it can explain this label of this video.

    Raises:
        ModelError: there is no such model, or it is an export, which is closed.
        SettingsError: what is to be explained is a table of results, or the model does not know
            the label.
    """
    if is_exported(Path(name)):
        raise ModelError(
            f"{name} is an exported model: it gives scores and nothing of its inner life.",
            hint="Explain with the run folder or model folder that it was exported from.",
        )
    if request.path.suffix.lower() in _RESULTS:
        raise SettingsError(
            f"{request.path} holds results, not a video.",
            hint="Give one of the videos that its rows name.",
        )
    model = load_model(name)
    labels = model.description.labels
    if label is not None and label not in labels:
        raise SettingsError(
            f"{model.description.name} does not know the label {label!r}.",
            hint=f"It knows {', '.join(labels)}.",
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

    Args:
        model: with a CNN that is frozen, fine-tuned or learned from nothing.
        request: the video.
        label: what to explain, one that the model knows; None is the one with the highest score.
        on_note: told what to know of the clip.

    Raises:
        VideoError: the video gives no frames.
        ModelError, BackboneError: the model's weights cannot be read.
    """
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
    for note in _notes(model, clip):
        on_note(note)
    cnn, scorer = backbones.build(model.description.backbone), load_scorer(model)
    return explain_clip(model, request, clip, cnn=cnn, scorer=scorer, label=label)


def _notes(model: Model, clip: Clip) -> Iterator[str]:
    if clip.decoded.reason:
        yield f"{clip.decoded.status}: {clip.decoded.reason}"
    description, seconds = model.description, clip.decoded.duration_seconds
    windows = choose_windows(description.clip.num_frames, description.data.get("clip_seconds"))
    if seconds > windows.max_clip_seconds:
        yield (
            f"{seconds:.1f} s are explained as one clip; the model learned from clips of about "
            f"{windows.window_seconds:.1f} s. Choose a piece with --start and --end."
        )


def explain_clip(
    model: Model,
    request: ClipRequest,
    clip: Clip,
    *,
    cnn: "FrameFeatures",
    scorer: "ClipScorer",
    label: str | None = None,
) -> Explanation:
    """Explain a clip that is decoded, with networks that are loaded; otherwise as above."""
    import torch

    from activity_cli.evaluation.explanation import heatmaps, importance

    description = model.description
    scorer.eval().requires_grad_(False)
    images = np.concatenate(list(clip.images.values()))  # (S * T, H, W, channels)
    stage = heatmaps.last_stage(cnn, torch.from_numpy(images[:1]))
    seen = heatmaps.see(cnn, stage, images)
    features = seen.features.view(description.feature_shape)  # (S, T, D)
    logits = scorer.classifier(features[None])[0]
    scores = torch.softmax(logits.detach() / scorer.temperature, dim=-1).numpy()
    prediction = Prediction(labels=description.labels, scores=scores)
    label = label or prediction.label
    number = description.labels.index(label)
    weights = importance.evidence_weights(len(scores), number, scorer.temperature)
    members = importance.members_of(scorer.classifier)
    heat = heatmaps.heat_of(seen, _said(members, features, weights))
    known = features.detach()
    life, silence = _inner_life(members, known, weights)
    return Explanation(
        video=request.path,
        model=description.name,
        prediction=prediction,
        label=label,
        decoded=clip.decoded,
        start_seconds=request.start_seconds or 0.0,
        importance=importance.measure_importance(members, known, weights),
        images=clip.images,
        heat=dict(zip(clip.images, np.split(heat, len(clip.images)), strict=True)),
        stage=stage,
        life=life,
        silence=silence,
        has_lstm=members[0].temporal == "lstm",
        num_members=len(members),
    )


def _said(
    members: "Sequence[SequenceClassifier]", features: "Tensor", weights: "Tensor"
) -> "Iterator[Said]":
    """What each part of each network says of (S, T, D) features, its share of the mean."""
    from activity_cli.evaluation.explanation.heatmaps import Said
    from activity_cli.evaluation.explanation.importance import speaks

    share, still = weights / len(members), features.detach().mean(dim=1, keepdim=True)
    for network in members:
        encoded = network.encode(features[None])
        yield Said(
            evidence=network.summary_logits(encoded)[0] @ share,
            nothing=network.mean[:, None].expand_as(features).flatten(0, 1),
        )
        if speaks(network):
            yield Said(
                evidence=network.order(encoded.changes)[0] @ share,
                nothing=still.expand_as(features).flatten(0, 1),
            )


def _inner_life(
    members: "Sequence[SequenceClassifier]", features: "Tensor", weights: "Tensor"
) -> tuple[InnerLife | None, str]:
    """What the LSTM did, or why it does not count. Of several, the one that says most."""
    from activity_cli.evaluation.explanation import gates, importance

    speaking = [network for network in members if importance.speaks(network)]
    if not speaking:
        return None, _NO_LSTM.get(members[0].temporal, _SWITCHED_OFF)
    lives = [
        gates.inner_life(network.order, network.encode(features[None]).changes[0], weights)
        for network in speaking
    ]
    return max(lives, key=lambda life: abs(life.telling[0].effect)), ""
