"""Clips in which the action fills only the middle third, and networks that have learned nothing."""

import copy
import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from activity_cli.evaluation.explanation.attribution import (
    evidence_weights,
    measure_importance,
    members_of,
)
from activity_cli.evaluation.explanation.values import Floats, Importance
from activity_cli.features.cnn import FrameFeatures
from activity_cli.model.network import ClipScorer
from activity_cli.sampledata import ACTIONS, actions, make_clip
from activity_cli.sampledata.actions import Motion, Style, interpolate, perform, stand
from activity_cli.sampledata.people import Person
from activity_cli.types import Clip
from tests.media import write_video

REPEATED = ACTIONS[:6]
"""The cyclic actions; the others happen once and leave something changed."""


def perform_amid_stillness(label: str, progress: actions.Floats, style: Style) -> Motion:
    """Return the motion of an action in the middle third of the clip, and stillness around it.

    Repeated movements come from standing and end in it, eased over a fifth of the action. The
    others are held as they begin and end, because what they change stays changed.
    """
    done = np.clip(3 * progress - 1, 0, 1)
    moving, standing = perform(label, done, style), stand(done, style)
    if label not in REPEATED:
        return moving
    share = interpolate(np.minimum(done, 1 - done), (0, 0), (0.2, 1))

    blended = {}
    for name in ("pelvis", "lean", "twist", "hands", "feet"):
        still, moved = getattr(standing, name), getattr(moving, name)
        blended[name] = still + share.reshape(-1, *[1] * (moved.ndim - 1)) * (moved - still)
    return replace(moving, **blended)


def draw_still_clip(path: Path, label: str, number: int) -> Path:
    """Draw a person who stands still, acts, and stands still, a third of the time each."""
    rng = np.random.default_rng([77, zlib.crc32(label.encode()), number])
    person = Person.draw(np.random.default_rng([77, number]))
    clip = make_clip(label, person, rng, perform=perform_amid_stillness, lengthened=3)
    return write_video(path, [frame[..., ::-1].copy() for frame in clip.frames()], clip.frame_rate)


def cnn_features(cnn: FrameFeatures, clip: Clip) -> Tensor:
    """(S, T, D) of a clip."""
    with torch.no_grad():
        rows = cnn(torch.from_numpy(np.concatenate(list(clip.images.values()))))
    return torch.unflatten(rows, 0, (len(clip.images), -1))


def importance_for(scorer: ClipScorer, features: Tensor, label: int) -> Importance:
    """Return the contribution of each frame to a label; `features` are (S, T, D)."""
    num_labels = scorer.classifier(features[None]).shape[1]
    weights = evidence_weights(num_labels, label, scorer.temperature)
    return measure_importance(members_of(scorer.classifier), features, weights)


def share_in_middle(values: Floats) -> float:
    """The share of what is above 0 that lies in the middle third; (T,), one value per frame.

    NaN where nothing is above 0.
    """
    positive = np.maximum(values, 0)
    edges = np.arange(len(values) + 1) / len(values) * 3
    inside = np.maximum(np.minimum(edges[1:], 2) - np.maximum(edges[:-1], 1), 0)
    inside *= len(values) / 3  # the share of each frame's time
    total = float(positive.sum())
    return float((positive * inside).sum()) / total if total else math.nan


def randomised(scorer: ClipScorer, seed: int) -> ClipScorer:
    """A copy of a classifier with fresh random weights in every layer."""
    torch.manual_seed(seed)
    fresh = copy.deepcopy(scorer).eval().requires_grad_(False)
    for module in fresh.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.LSTM):
            module.reset_parameters()
    return fresh
