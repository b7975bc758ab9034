"""Train CNN and classifier together: gradients flow back through time into the CNN.

`finetune` starts with the pretrained CNN and the classifier that was fitted to its features, and
computes the outputs of the unchanged first stages once. `scratch` starts with random weights.
N clips, K views, A is the shape of what the trained stages of the CNN read of one frame.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.common.cache import FEATURES
from activity_cli.errors import DataError
from activity_cli.features.backbones import Backbone
from activity_cli.features.cnn import FrameFeatures, build_cnn, scratch_features
from activity_cli.features.labelled import DataConfig, FeatureDataset, scratch_array
from activity_cli.features.stages import CutNetwork, cut
from activity_cli.model.encoding import Rows, batches_of
from activity_cli.model.network import FeatureStatistics, SequenceClassifier
from activity_cli.settings import CnnSettings
from activity_cli.training.head import (
    FittedNetwork,
    HeadConfig,
    fit_head,
    label_weights,
    one_thread,
    seeded,
)
from activity_cli.training.loop.loop import NO_SESSION, Session, train
from activity_cli.training.loop.trainer import ClipLoss
from activity_cli.training.tasks import (
    CLIPS_AT_ONCE,
    IMAGES_AT_ONCE,
    JointNetwork,
    JointTask,
    as_rows,
    has_fast_bf16,
)

_NO_IMPROVEMENT = (
    "Fine-tuning did not improve the validation loss: the model uses the unchanged CNN."
)
_SMALL_FRAME = 64
_Start = tuple[FrameFeatures, Backbone, JointTask]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCnn:
    """The result of training CNN and classifier together."""

    fitted: FittedNetwork  # the classifier. `val_scores` are those of both.
    backbone: Backbone  # description of the CNN; its hash is that of the weights it started with
    cnn: FrameFeatures | None = None
    """The whole CNN, in eval mode; None where fine-tuning did not improve it."""
    network: JointNetwork | None = None

    def weights(self) -> bytes:
        """Return the trained CNN as a safetensors file."""
        assert self.cnn is not None
        return self.cnn.to_file()


class CnnTrainer:
    """Trains CNN and classifier together, on any part of the clips whose frames `data` holds.

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
        self._inputs = data  # of the trained stages
        self._pretrained: FeatureDataset | None = None  # features, where the CNN is pretrained
        started = time.perf_counter()
        if cnn.mode == "finetune":
            self._inputs, self._pretrained = self._run_pretrained(data)
        self.seconds = time.perf_counter() - started  # for the stages in front

    def fit(self, train_rows: Rows, val_rows: Rows, session: Session = NO_SESSION) -> FittedCnn:
        """Train on some rows, keep the weights best on others; a DataError without others."""
        if not len(val_rows):
            raise DataError(
                "No clips are left to choose the best epoch.",
                hint="Add clips, or raise --val-fraction.",
            )
        is_small = self._pretrained is None and self._data_config.clip.frame_size <= _SMALL_FRAME
        # Threads gain little on small frames, and cost much where others use the cores.
        with one_thread() if is_small else nullcontext(), seeded(self._config.training.seed):
            start = self._from_scratch if self._pretrained is None else self._from_pretrained
            cnn, backbone, task = start(train_rows, val_rows)
            settings = replace(
                self._config.training,
                epochs=self._cnn.most_epochs,
                learning_rate=self._cnn.highest_learning_rate,
            )
            result = train([task], task.evaluate, settings, session, name="cnn")
            if self._pretrained is not None and result.best_epoch == 0:
                data = self._pretrained
                fitted = fit_head(data, self._config, train_rows, val_rows)
                notes = (*result.notes, _NO_IMPROVEMENT)
                fitted = replace(
                    fitted, history=result.history, best_epoch=0, ending=result.ending, notes=notes
                )
                return FittedCnn(fitted=fitted, backbone=self._backbone)
            val_logits = task.logits(val_rows)
        fitted = FittedNetwork.of(task.module.eval().classifier.cpu(), result, val_logits)
        return FittedCnn(fitted=fitted, backbone=backbone, cnn=cnn.eval(), network=task.module)

    @torch.no_grad()
    def features(self, found: FittedCnn) -> FeatureDataset:
        """Compute the features of all clips by a CNN that was trained here, in torch."""
        if found.network is None:
            assert self._pretrained is not None
            return self._pretrained
        network, inputs = found.network.eval(), self._inputs.values
        device = next(network.cnn.parameters()).device
        shape = (*inputs.shape[:3], found.backbone.feature_size)
        features = scratch_array(shape, np.float16, self._data_config.cache_dir / FEATURES)
        for rows in batches_of(np.arange(len(features)), CLIPS_AT_ONCE):
            images = torch.from_numpy(inputs[rows]).to(device)
            features[rows] = network.features(images).cpu().numpy()
        return replace(self._inputs, values=features, views=None)

    def _from_scratch(self, train_rows: Rows, val_rows: Rows) -> _Start:
        cnn = scratch_features(self._backbone)
        size, streams = self._backbone.feature_size, len(self._inputs.streams)
        statistics = FeatureStatistics.unmeasured(streams, size, num_coefficients=1)
        classifier = SequenceClassifier(
            self._config.network, num_labels=len(self._inputs.labels), statistics=statistics
        )
        network = JointNetwork(cnn, classifier, keeps_statistics=False).to(self._device)
        stages = (tuple(cnn.parameters()),)
        return cnn, self._backbone, self._task(network, stages, None, train_rows, val_rows)

    def _from_pretrained(self, train_rows: Rows, val_rows: Rows) -> _Start:
        """Fit the classifier to the pretrained CNN, which is where the training starts."""
        assert self._pretrained is not None
        fitted = fit_head(self._pretrained, self._config, train_rows, val_rows[:0])
        cnn = build_cnn(self._backbone).to(self._device)
        parts = cut(cnn, self._cnn.finetune_stages)
        cnn.requires_grad_(False)
        for weight in chain.from_iterable(parts.stages):
            weight.requires_grad_(True)
        assert fitted.penalties is not None
        network = JointNetwork(parts.back, fitted.network, keeps_statistics=True)
        trained, total = len(parts.stages), parts.num_stages
        backbone = replace(
            self._backbone, mode="finetune", trained_stages=trained, num_stages=total
        )
        task = self._task(
            network.to(self._device),
            parts.stages,
            fitted.penalties.to(self._device),
            train_rows,
            val_rows,
        )
        return cnn, backbone, task

    def _task(
        self,
        network: JointNetwork,
        stages: Sequence[Sequence[nn.Parameter]],
        penalties: Tensor | None,
        train_rows: Rows,
        val_rows: Rows,
    ) -> JointTask:
        data, training = self._inputs, self._config.training
        weights = label_weights(data.targets[train_rows], len(data.labels), training)
        return JointTask(
            module=network,
            data=data,
            train_rows=train_rows,
            val_rows=val_rows,
            loss=ClipLoss(label_weights=weights, label_smoothing=training.label_smoothing),
            stages=stages,
            penalties=penalties,
            learning_rate=self._cnn.highest_learning_rate,
            stage_decay=self._cnn.stage_decay,
        )

    @torch.inference_mode()
    def _run_pretrained(self, data: FeatureDataset) -> tuple[FeatureDataset, FeatureDataset]:
        """Compute from frames the inputs of the trained stages, and the features."""
        folder, on_progress = self._data_config.cache_dir / FEATURES, self._data_config.on_progress
        cnn = build_cnn(self._backbone).to(self._device)
        parts = cut(cnn, self._cnn.finetune_stages)
        num_clips, each = len(data.values), (1 + data.num_views, *data.values.shape[1:3])
        shape = (num_clips, *each, self._backbone.feature_size)
        features = scratch_array(shape, np.float16, folder)
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
                    inputs = scratch_array(shape, np.float16, folder)
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
