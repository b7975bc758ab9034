"""Clips in which the action fills only the middle third, and networks that have learned nothing."""

import copy
import zlib
from pathlib import Path

import numpy as np
import torch

from activity_cli.explaining.values import Explanation, Floats
from activity_cli.network import ClipScorer
from activity_cli.sampledata.clip import make_up_clip
from activity_cli.sampledata.person import Person
from tests.media import write_video

CHANCE = 1 / 3


def draw_still_clip(path: Path, label: str, number: int) -> Path:
    """Somebody stands still, does something, and stands still, a third of the time each."""
    rng = np.random.default_rng([77, zlib.crc32(label.encode()), number])
    person = Person.draw(np.random.default_rng([77, number]))
    clip = make_up_clip(label, person, rng, still=1.0)
    return write_video(path, [frame[..., ::-1].copy() for frame in clip.frames()], clip.frame_rate)


def share_in_middle(values: Floats) -> float:
    """The share of what is above 0 that lies in the middle third; (T,), one value per frame."""
    positive = np.maximum(values, 0)
    edges = np.arange(len(values) + 1) / len(values) * 3
    inside = np.maximum(np.minimum(edges[1:], 2) - np.maximum(edges[:-1], 1), 0)
    inside *= len(values) / 3  # the share of each frame's time
    return float((positive * inside).sum() / positive.sum())


def says_for(explanation: Explanation) -> float:
    """The share of what speaks for the label that lies in the middle third."""
    return share_in_middle(explanation.importance.per_frame)


def randomised(scorer: ClipScorer, seed: int) -> ClipScorer:
    """A copy of a classifier with fresh random weights in every layer."""
    torch.manual_seed(seed)
    fresh = copy.deepcopy(scorer)
    for module in fresh.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.LSTM):
            module.reset_parameters()
    return fresh
