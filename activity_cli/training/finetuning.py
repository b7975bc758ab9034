"""Train CNN and classifier together: gradients flow back through time into the CNN.

`finetune` starts with the pretrained CNN and the classifier that was fitted to its features; the
outputs of the stages in front, which stay as they are, are computed once. `scratch` starts with
random weights and reads the frames themselves.

N clips, K views; S, T, D, C as in `network`; A is the shape of what the trained stages of the CNN
read of one frame.
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
from activity_cli.features.frames import scratch_array
from activity_cli.features.labelled import DataConfig, FeatureDataset
from activity_cli.features.stages import CutNetwork, cut
from activity_cli.model.encoding import Features, Rows
from activity_cli.model.network import FeatureStatistics, SequenceClassifier
from activity_cli.settings import CnnSettings
from activity_cli.training.head import (
    FittedNetwork,
    HeadConfig,
    fit_with_validation,
    label_weights,
    one_thread,
    pooled_penalties,
    seeded,
)
from activity_cli.training.joint import (
    CLIPS_AT_ONCE,
    IMAGES_AT_ONCE,
    JointNetwork,
    JointTask,
    as_rows,
    has_fast_bf16,
)
from activity_cli.training.loop.loop import NO_SESSION, Session, TrainResult, train
from activity_cli.training.loop.task import ClipLoss

_NO_IMPROVEMENT = (
    "Fine-tuning did not improve the validation loss: the model uses the unchanged CNN."
)
_SMALL_FRAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCnn:
    """The result of training CNN and classifier together."""

    fitted: FittedNetwork
    """The classifier. `val_scores` are those of both."""
    cnn: FrameFeatures
    """The whole CNN, in eval mode."""
    backbone: Backbone
    """Description of the CNN. Its hash is that of the weights it started with."""
    network: JointNetwork

    def weights(self) -> bytes:
        """Return the CNN as a safetensors file."""
        return save({name: t.contiguous() for name, t in self.cnn.cpu().state_dict().items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The networks that a training starts with."""

    network: JointNetwork
    cnn: FrameFeatures
    """The whole CNN; `network` has its trained stages."""
    backbone: Backbone
    stages: Sequence[Sequence[nn.Parameter]]
    penalties: Tensor | None
    """(S * D,) of the pooled linear head's weights."""


class CnnTrainer:
    """Trains CNN and classifier together, on any part of some clips.

    Args:
        data: frames of all clips.
        data_config: how they were read: the pretrained CNN or the one without weights, the device,
            the cache folder.
        config: network and training settings of the classifier.
        cnn: how the CNN is trained.

    Raises:
        BackboneError: the pretrained weights are not available.
        OutputError: the cache folder cannot be written.
    """

    def __init__(
        self, data: FeatureDataset, data_config: DataConfig, config: HeadConfig, cnn: CnnSettings
    ) -> None:
        self._data_config, self._config, self._cnn = data_config, config, cnn
        self._backbone = data_config.backbone
        self._device = torch.device(data_config.engine.device)
        self._inputs = data
        """What the trained stages of the CNN read."""
        self._pretrained: FeatureDataset | None = None
        """Features by the pretrained CNN; None where there is none."""
        started = time.perf_counter()
        if cnn.mode == "finetune":
            self._inputs, self._pretrained = self._run_pretrained(data)
        self.seconds = time.perf_counter() - started
        """For the stages in front."""

    def fit(self, train_rows: Rows, val_rows: Rows, session: Session = NO_SESSION) -> FittedCnn:
        """Train on some rows, keep the weights that are best on others.

        Raises:
            DataError: there are no validation rows.
            TrainingError, CheckpointError, OutputError: as `loop.train`.
        """
        if not len(val_rows):
            raise DataError(
                "No clips are left to choose the best epoch.",
                hint="Add clips, or raise --val-fraction.",
            )
        is_small = self._pretrained is None and self._data_config.clip.frame_size <= _SMALL_FRAME
        # Threads gain little on small frames, and cost much where others use the cores.
        with one_thread() if is_small else nullcontext(), seeded(self._config.training.seed):
            if self._pretrained is None:
                start = self._from_scratch()
            else:
                start = self._from_pretrained(self._pretrained, train_rows, val_rows)
            return self._train(start, train_rows, val_rows, session)

    @torch.no_grad()
    def features(self, fitted: FittedCnn) -> FeatureDataset:
        """Compute the features of all clips by a CNN that was trained here, in torch."""
        network = fitted.network.eval()
        device = next(network.cnn.parameters()).device
        inputs = self._inputs.values
        shape = (*inputs.shape[:3], fitted.backbone.feature_size)
        features: Features = scratch_array(shape, np.float16, self._data_config.cache_dir)
        for start in range(0, len(features), CLIPS_AT_ONCE):
            part = slice(start, start + CLIPS_AT_ONCE)
            images = torch.from_numpy(np.array(inputs[part])).to(device)
            features[part] = network.features(images).cpu().numpy()
        return replace(self._inputs, values=features, views=None)

    def _train(
        self, start: _Start, train_rows: Rows, val_rows: Rows, session: Session
    ) -> FittedCnn:
        """Run the epochs that train CNN and classifier together."""
        training, data = self._config.training, self._inputs
        weights = label_weights(data.targets[train_rows], len(data.labels), training)
        task = JointTask(
            module=start.network,
            data=data,
            train_rows=train_rows,
            val_rows=val_rows,
            loss=ClipLoss(label_weights=weights, label_smoothing=training.label_smoothing),
            stages=start.stages,
            penalties=start.penalties,
            learning_rate=self._cnn.highest_learning_rate,
            stage_decay=self._cnn.stage_decay,
        )
        settings = replace(
            training,
            epochs=self._cnn.most_epochs,
            learning_rate=self._cnn.highest_learning_rate,
        )
        result = train([task], task.evaluate, settings, session, name="cnn")
        if self._pretrained is not None and result.best_epoch == 0:
            return self._unchanged(self._pretrained, train_rows, val_rows, result)
        start.network.eval()
        val_scores = torch.softmax(task.logits(val_rows), dim=-1)
        fitted = FittedNetwork(
            network=start.network.classifier.cpu(),
            history=result.history,
            best_epoch=result.best_epoch,
            val_scores=val_scores.numpy(),
            ending=result.ending,
            notes=result.notes,
        )
        return FittedCnn(
            fitted=fitted, cnn=start.cnn.eval(), backbone=start.backbone, network=start.network
        )

    def _unchanged(
        self, features: FeatureDataset, train_rows: Rows, val_rows: Rows, result: TrainResult
    ) -> FittedCnn:
        """Return the pretrained CNN, which fine-tuning did not improve."""
        fitted = fit_with_validation(
            features, self._config, train_rows=train_rows, val_rows=val_rows
        )
        cnn = backbones.build(self._backbone)
        parts = cut(cnn, self._cnn.finetune_stages)
        return FittedCnn(
            fitted=replace(
                fitted,
                history=result.history,
                best_epoch=0,
                ending=result.ending,
                notes=(*result.notes, _NO_IMPROVEMENT),
            ),
            cnn=cnn,
            backbone=self._backbone,
            network=JointNetwork(parts.back, fitted.network, keeps_statistics=True),
        )

    def _from_scratch(self) -> _Start:
        cnn = scratch_features(self._backbone)
        data, size = self._inputs, self._backbone.feature_size
        streams = len(data.streams)
        # There are no features yet whose statistics could be measured.
        statistics = FeatureStatistics(
            mean=torch.zeros(streams, size),
            scale=torch.ones(streams, size),
            components=torch.eye(size).repeat(streams, 1, 1),
        )
        classifier = SequenceClassifier(
            self._config.network, num_labels=len(data.labels), statistics=statistics
        )
        network = JointNetwork(cnn, classifier, keeps_statistics=False)
        return _Start(
            network=network.to(self._device),
            cnn=cnn,
            backbone=self._backbone,
            stages=(tuple(cnn.parameters()),),
            penalties=None,
        )

    def _from_pretrained(
        self, features: FeatureDataset, train_rows: Rows, val_rows: Rows
    ) -> _Start:
        """Fit the classifier to the pretrained CNN, which is where the training starts."""
        fitted = fit_with_validation(
            features,
            self._config,
            train_rows=train_rows,
            val_rows=val_rows,
            learns_from_val=False,
        )
        cnn = backbones.build(self._backbone)
        parts = cut(cnn, self._cnn.finetune_stages)
        cnn.requires_grad_(False)
        for weight in (w for stage in parts.stages for w in stage):
            weight.requires_grad_(True)
        network = JointNetwork(parts.back, fitted.network, keeps_statistics=True)
        penalties = pooled_penalties(
            fitted.network, features.streams, self._config.training, num_clips=len(train_rows)
        )
        return _Start(
            network=network.to(self._device),
            cnn=cnn.to(self._device),
            backbone=replace(
                self._backbone,
                mode="finetune",
                trained_stages=len(parts.stages),
                num_stages=parts.num_stages,
            ),
            stages=parts.stages,
            penalties=penalties.to(self._device),
        )

    @torch.inference_mode()
    def _run_pretrained(self, data: FeatureDataset) -> tuple[FeatureDataset, FeatureDataset]:
        """Compute from frames the inputs of the trained stages, and the features."""
        cache_dir, on_progress = self._data_config.cache_dir, self._data_config.on_progress
        cnn = backbones.build(self._backbone).to(self._device)
        parts = cut(cnn, self._cnn.finetune_stages)
        num_clips, each = len(data.values), (1 + data.num_views, *data.values.shape[1:3])
        features = scratch_array(
            (num_clips, *each, self._backbone.feature_size), np.float16, cache_dir
        )
        inputs: NDArray[Any] | None = None
        on_progress("front", 0, num_clips)
        for row in range(num_clips):
            frames = data.values[row : row + 1]  # (1 + K, S, T, *A)
            if data.views is not None:
                frames = np.concatenate([frames, data.views[row]])
            activations, made = self._run_stages(parts, torch.from_numpy(frames).flatten(0, 2))
            features[row] = made.reshape(features.shape[1:])
            if not isinstance(parts.front, nn.Identity):
                if inputs is None:
                    shape = (num_clips, *each, *activations.shape[1:])
                    inputs = scratch_array(shape, np.float16, cache_dir)
                inputs[row] = activations.reshape(inputs.shape[1:])
            on_progress("front", row + 1, num_clips)
        if inputs is None:  # all stages are trained: they read the frames
            return data, _with_views(data, features)
        return _with_views(data, inputs), _with_views(data, features)

    def _run_stages(self, parts: CutNetwork, frames: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        """Frames (N, H, W, channels) -> the trained stages' inputs (N, *A), features (N, D)."""
        reduced = self._device.type == "cpu" and has_fast_bf16()
        inputs, features = [], []
        with torch.autocast(self._device.type, torch.bfloat16, enabled=reduced):
            for part in torch.split(frames.to(self._device), IMAGES_AT_ONCE):
                activations = parts.front(part)
                inputs.append(as_rows(activations))
                features.append(parts.back(activations).float().cpu())
        return torch.cat(inputs).numpy(), torch.cat(features).numpy()


def _with_views(data: FeatureDataset, values: NDArray[Any]) -> FeatureDataset:
    """Return the data with other values, (N, 1 + K, ...), the unchanged clips first."""
    views = values[:, 1:] if values.shape[1] > 1 else None
    return replace(data, values=values[:, 0], views=views)
