"""What reduced precision costs in accuracy: trained on fp32 features, scored on reduced ones.

    python -m tests.benchmarks.precision DATA

DATA is the folder with the 300 surveillance fights (labels.csv with fold_by_source). Every clip is
decoded once; the CNN reads it in fp32, bf16 and int8 (calibrated on 16 clips, as `activity export
--precision int8` does it). Each fold's classifier is trained on the others' fp32 features and
scores the held-out clips' features of each precision.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import openvino_core
from activity_cli.data.loading import load_dataset
from activity_cli.data.splits import inner_split, make_folds
from activity_cli.errors import SettingsError
from activity_cli.export.formats import openvino_model
from activity_cli.export.graphs import build_network, graph_of
from activity_cli.export.quantize import pick_images, quantize_openvino
from activity_cli.features.engines.choice import Engine, load_extractor
from activity_cli.features.engines.protocol import Extractor
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.folder import load_model
from activity_cli.settings import DEFAULT_MODEL
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows
from activity_cli.types import Images
from activity_cli.video.clips import make_streams, read_clip, read_frames


class Int8Extractor:
    """The quantised CNN that an int8 export holds."""

    def __init__(self, images: Images) -> None:
        model = load_model(DEFAULT_MODEL)
        graph = graph_of(build_network(model), "cnn", model, dynamic=True)
        cnn = quantize_openvino(openvino_model(graph), images)
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = openvino_core().compile_model(cnn, "CPU", hint)

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """(N, D) of (N, H, W, 3)."""
        return np.array(self._compiled([frames])[0])


def main() -> None:
    """Extract, cross-validate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    description = load_model(DEFAULT_MODEL).description
    some = [sample.path for sample in dataset.samples[:: len(dataset.samples) // 16]]
    stacks = [
        stack
        for path in some
        for stack in make_streams(
            read_frames(path, description.clip), description.clip
        ).images.values()
    ]
    extractors: dict[str, Extractor | Int8Extractor] = {}
    with tempfile.TemporaryDirectory() as cache:
        for precision in ("fp32", "bf16", "fp16"):
            engine = Engine(name="openvino", device="cpu", precision=precision)
            try:
                extractors[precision] = load_extractor(
                    description.backbone, engine, cache_dir=Path(cache)
                )
            except SettingsError as error:
                print(error.message)
    extractors["int8"] = Int8Extractor(pick_images(stacks))

    shape = (len(dataset.samples), *description.feature_shape)
    features = {name: np.zeros(shape, np.float16) for name in extractors}
    for row, sample in enumerate(dataset.samples):
        images = read_clip(sample.path, description.clip).images.values()
        for name, extractor in extractors.items():
            features[name][row] = [extractor.extract(stack) for stack in images]

    targets = dataset.label_indices()
    folds, groups = make_folds(dataset, fold_column="fold_by_source"), dataset.groups()
    scores = {name: np.zeros((len(targets), len(dataset.labels))) for name in features}
    for number in range(len(folds.names)):
        others = np.flatnonzero(folds.index != number)
        held_out = np.flatnonzero(folds.index == number)
        own_groups = None if groups is None else groups[others]
        train, val = inner_split(targets[others], own_groups, fraction=VAL_FRACTION, seed=0)
        network = fit_head(
            FeatureDataset(
                values=features["fp32"],
                targets=targets,
                labels=dataset.labels,
                streams=description.clip.streams,
                groups=groups,
            ),
            HeadConfig(),
            train_rows=others[train],
            val_rows=others[val],
        ).network
        for name, values in features.items():
            scores[name][held_out] = score_rows(network, values, held_out)
    reference = scores["fp32"]
    for name, given in scores.items():
        accuracy = (given.argmax(axis=1) == targets).mean()
        same = (given.argmax(axis=1) == reference.argmax(axis=1)).mean()
        difference = np.abs(given - reference).mean()
        print(
            f"{name}: accuracy {accuracy:.3f}, same label as fp32 {same:.1%}, "
            f"mean difference of scores {difference:.4f}"
        )


if __name__ == "__main__":
    main()
