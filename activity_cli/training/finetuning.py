"""CNN and sequence classifier that learn together, back through time into the CNN.

A CNN that is fine-tuned begins as it was pretrained, with the classifier that was fitted to it as
it is; what its first stages make of the pictures is computed once. A CNN that learns from nothing
begins with random weights and sees the pictures themselves.

N clips, B clips of a batch; S, T, D, C as in `network`; A the shape of what the CNN's last stages
read of one picture.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from activity_cli.errors import DataError
from activity_cli.features import backbones
from activity_cli.features.backbones import Backbone
from activity_cli.features.cnn import FrameFeatures, scratch_features
from activity_cli.features.pictures import LabelledPictures, scratch_array
from activity_cli.features.stages import CutNetwork, cut
from activity_cli.model.encoding import Features, Rows
from activity_cli.model.network import FeatureStatistics, SequenceClassifier
from activity_cli.settings import CnnSettings, NetworkSettings, TrainSettings
from activity_cli.training.head import (
    FittedNetwork,
    fit,
    label_weights,
    one_thread,
    summary_penalties,
)
from activity_cli.training.joint_network import IMAGES_AT_ONCE, JointNetwork, as_rows, has_fast_bf16
from activity_cli.training.joint_task import CLIPS_AT_ONCE, ClipImages, JointLesson
from activity_cli.training.loop.loop import ALONE, Session, TrainResult, train
from activity_cli.training.loop.losses import ClipLoss
from activity_cli.types import OnProgress, no_progress

_NOTHING_GAINED = (
    "Fine-tuning gained nothing on the validation clips: the model has the CNN as it was."
)
_SMALL_FRAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCnn:
    """What a joint training gave."""

    fitted: FittedNetwork
    """The classifier. `val_scores` are those of both."""
    cnn: FrameFeatures
    """In eval mode."""
    backbone: Backbone
    """The CNN's description; its hash is that of `weights`."""
    network: JointNetwork

    def weights(self) -> bytes:
        """The CNN as a file of safetensors."""
        return save({name: t.contiguous() for name, t in self.cnn.cpu().state_dict().items()})


class CnnTrainer:
    """Fits CNN and classifier together, to any part of some clips.

    Args:
        data: the clips.
        backbone: the pretrained CNN, or the one that is to learn from nothing.
        network: shape of the classifier.
        settings: how it is fitted.
        cnn: how the CNN is.
        device: of torch.
        on_progress: hears of the CNN's first stages, which see all clips once.

    Raises:
        BackboneError: the pretrained weights are not to be had.
        OutputError: the cache folder cannot be written.
    """

    def __init__(
        self,
        data: LabelledPictures,
        backbone: Backbone,
        *,
        network: NetworkSettings,
        settings: TrainSettings,
        cnn: CnnSettings,
        device: str = "cpu",
        on_progress: OnProgress = no_progress,
    ) -> None:
        self._data, self._backbone = data, backbone
        self._network, self._settings, self._cnn = network, settings, cnn
        self._device = torch.device(device)
        self._images = ClipImages(plain=data.pictures, views=data.views)
        self._pretrained: ClipImages | None = None
        started = time.perf_counter()
        if cnn.mode == "finetune":
            self._images, self._pretrained = self._run_pretrained(on_progress)
        self.seconds = time.perf_counter() - started
        """For the first stages."""

    def fit(self, train_rows: Rows, val_rows: Rows, session: Session = ALONE) -> FittedCnn:
        """Train on some rows, keep the weights that do best on others.

        Args:
            train_rows: rows to learn from.
            val_rows: rows that choose the best epoch.
            session: who hears of the epochs, in which CNN and classifier learn together.

        Raises:
            DataError: there are no validation rows.
        """
        if not len(val_rows):
            raise DataError(
                "No clips are left to choose the best epoch.",
                hint="Add clips, or raise --val-fraction.",
            )
        torch.manual_seed(self._settings.seed)
        if self._pretrained is None:
            start, backbone = self._from_nothing(), self._backbone
        else:
            start, backbone = self._from_pretrained(train_rows, val_rows)
        with one_thread() if self._is_small() else nullcontext():
            return self._learn(start, backbone, train_rows, val_rows, session)

    def _learn(
        self,
        start: "_Start",
        backbone: Backbone,
        train_rows: Rows,
        val_rows: Rows,
        session: Session,
    ) -> FittedCnn:
        """The epochs in which CNN and classifier learn together."""
        lesson = self._lesson(start, train_rows, val_rows)
        settings = replace(
            self._settings,
            epochs=self._cnn.most_epochs,
            learning_rate=self._cnn.highest_learning_rate,
        )
        course = train(lesson, settings, session, name="cnn")
        if self._pretrained is not None and course.best_epoch == 0:
            return self._as_it_was(train_rows, val_rows, course)
        start.network.eval()
        val_scores = torch.softmax(lesson.logits(val_rows), dim=-1)
        fitted = FittedNetwork(
            network=start.network.classifier.cpu(),
            history=course.history,
            best_epoch=course.best_epoch,
            val_scores=val_scores.numpy(),
            ending=course.ending,
            notes=course.notes,
        )
        return FittedCnn(
            fitted=fitted, cnn=start.cnn.eval(), backbone=backbone, network=start.network
        )

    def _is_small(self) -> bool:
        """Whether threads would gain little, and lose much where others use the cores."""
        return self._pretrained is None and self._data.clip.frame_size <= _SMALL_FRAME

    def _as_it_was(self, train_rows: Rows, val_rows: Rows, course: TrainResult) -> FittedCnn:
        """Fine-tuning gained nothing on the validation clips: the pretrained CNN, unchanged."""
        fitted = self._fit_head(train_rows, val_rows, learns_from_val=True)
        cnn = backbones.build(self._backbone)
        parts = cut(cnn, self._cnn.finetune_stages)
        return FittedCnn(
            fitted=replace(
                fitted,
                history=course.history,
                best_epoch=0,
                ending=course.ending,
                notes=(*course.notes, _NOTHING_GAINED),
            ),
            cnn=cnn,
            backbone=self._backbone,
            network=JointNetwork(parts.back, fitted.network, keeps_statistics=True),
        )

    @torch.no_grad()
    def features(self, fitted: FittedCnn) -> Features:
        """(N, S, T, D) of all clips by a CNN that was fitted here, computed in torch."""
        network = fitted.network.eval()
        device = next(network.cnn.parameters()).device
        plain = self._images.plain
        shape = (*plain.shape[:3], fitted.backbone.feature_size)
        features = scratch_array(shape, np.float16, self._data.cache_dir)
        for start in range(0, len(features), CLIPS_AT_ONCE):
            part = slice(start, start + CLIPS_AT_ONCE)
            images = torch.from_numpy(np.array(plain[part])).to(device)
            features[part] = network.features(images).cpu().numpy()
        return features

    def _from_nothing(self) -> "_Start":
        cnn = scratch_features(self._backbone)
        streams, size = len(self._data.clip.streams), self._backbone.feature_size
        # The features are still to become something, so there is nothing to measure of them.
        statistics = FeatureStatistics(
            mean=torch.zeros(streams, size),
            scale=torch.ones(streams, size),
            components=torch.eye(size).repeat(streams, 1, 1),
        )
        classifier = SequenceClassifier(
            self._network, num_labels=len(self._data.dataset.labels), statistics=statistics
        )
        network = JointNetwork(cnn, classifier, keeps_statistics=False)
        stages = (tuple(cnn.parameters()),)
        return _Start(network=network.to(self._device), cnn=cnn, stages=stages, penalties=None)

    def _from_pretrained(self, train_rows: Rows, val_rows: Rows) -> "tuple[_Start, Backbone]":
        """The classifier is fitted to the CNN as it is, which is where both begin."""
        fitted = self._fit_head(train_rows, val_rows, learns_from_val=False)
        cnn = backbones.build(self._backbone)
        parts = cut(cnn, self._cnn.finetune_stages)
        cnn.requires_grad_(False)
        for weight in (w for stage in parts.stages for w in stage):
            weight.requires_grad_(True)
        network = JointNetwork(parts.back, fitted.network, keeps_statistics=True)
        penalties = summary_penalties(
            fitted.network, self._data.clip.streams, self._settings, num_clips=len(train_rows)
        )
        start = _Start(
            network=network.to(self._device),
            cnn=cnn.to(self._device),
            stages=parts.stages,
            penalties=penalties.to(self._device),
        )
        backbone = replace(
            self._backbone,
            mode="finetune",
            trained_stages=len(parts.stages),
            num_stages=parts.num_stages,
        )
        return start, backbone

    def _fit_head(
        self, train_rows: Rows, val_rows: Rows, *, learns_from_val: bool
    ) -> FittedNetwork:
        """The classifier alone, as for a CNN that stays as it is."""
        assert self._pretrained is not None
        return fit(
            self._pretrained.plain,
            self._data.targets,
            train_rows=train_rows,
            val_rows=val_rows,
            num_labels=len(self._data.dataset.labels),
            streams=self._data.clip.streams,
            network_settings=self._network,
            settings=self._settings,
            views=self._pretrained.views if self._pretrained.num_views else None,
            learns_from_val=learns_from_val,
        )

    def _lesson(self, start: "_Start", train_rows: Rows, val_rows: Rows) -> "JointLesson":
        num_labels = len(self._data.dataset.labels)
        weights = label_weights(self._data.targets[train_rows], num_labels, self._settings)
        return JointLesson(
            module=start.network,
            images=self._images,
            targets=self._data.targets,
            train_rows=train_rows,
            val_rows=val_rows,
            loss=ClipLoss.of(self._settings, weights),
            stages=start.stages,
            penalties=start.penalties,
            learning_rate=self._cnn.highest_learning_rate,
            stage_decay=self._cnn.stage_decay,
        )

    @torch.inference_mode()
    def _run_pretrained(self, on_progress: OnProgress) -> "tuple[ClipImages, ClipImages]":
        """What the stages that learn will read, and the features as they are."""
        shown, cache_dir = self._images, self._data.cache_dir
        cnn = backbones.build(self._backbone).to(self._device)
        parts = cut(cnn, self._cnn.finetune_stages)
        each = (len(shown.plain), 1 + shown.num_views, *shown.plain.shape[1:3])  # N, 1 + K, S, T
        features = scratch_array((*each, self._backbone.feature_size), np.float16, cache_dir)
        read: NDArray[Any] | None = None
        on_progress("front", 0, len(shown.plain))
        for row in range(len(shown.plain)):
            frames = np.concatenate([shown.plain[row : row + 1], shown.views[row]])
            seen, made = self._see(parts, torch.from_numpy(frames).flatten(0, 2))
            features[row] = made.reshape(features.shape[1:])
            if not isinstance(parts.front, nn.Identity):
                if read is None:
                    read = scratch_array((*each, *seen.shape[1:]), np.float16, cache_dir)
                read[row] = seen.reshape(read.shape[1:])
            on_progress("front", row + 1, len(shown.plain))
        made_of = ClipImages(plain=features[:, 0], views=features[:, 1:])
        if read is None:  # all stages learn: what they read are the pictures
            return shown, made_of
        return ClipImages(plain=read[:, 0], views=read[:, 1:]), made_of

    def _see(self, parts: CutNetwork, frames: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the last stages read of frames, (N, *A), and make of it, (N, D)."""
        reduced = self._device.type == "cpu" and has_fast_bf16()
        seen, made = [], []
        with torch.autocast(self._device.type, torch.bfloat16, enabled=reduced):
            for part in torch.split(frames.to(self._device), IMAGES_AT_ONCE):
                activations = parts.front(part)
                seen.append(as_rows(activations))
                made.append(parts.back(activations).float().cpu())
        return torch.cat(seen).numpy(), torch.cat(made).numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What a training begins with."""

    network: JointNetwork
    cnn: FrameFeatures
    """All of it; the network has the stages that learn."""
    stages: Sequence[Sequence[nn.Parameter]]
    penalties: Tensor | None
    """(S * D,) of the summary's weights."""
