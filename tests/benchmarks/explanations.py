"""Do explanations point to where the action is? Somebody stands still, acts, and stands still.

    python -m tests.benchmarks.explanations [--model runs/NAME] [--clips-per-label 8]

Prints how much of what speaks for the action lies in the middle third of the clip, which it fills
(chance is 1/3): by contributions, by leaving frames out, and for networks with the same CNN whose
other weights are random. Without --model one is trained first, on ordinary drawn clips.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from activity_cli.common.cache import default_cache_dir
from activity_cli.evaluation.explanation.values import Floats, Importance
from activity_cli.features.backbones import find_backbone
from activity_cli.features.cnn import build_cnn
from activity_cli.features.labelled import DataConfig
from activity_cli.model.folder import Model, load_model
from activity_cli.model.network import load_scorer
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings
from activity_cli.training.fitting import Plan, fit_plan
from activity_cli.training.head import HeadConfig
from activity_cli.training.run import save_run
from activity_cli.video.clips import read_clip
from tests.stillness import (
    REPEATED,
    cnn_features,
    draw_still_clip,
    importance_for,
    randomised,
    share_in_middle,
)

NUM_RANDOM = 5


def main() -> None:
    """Train if need be, draw, explain, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model")
    parser.add_argument("--clips-per-label", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(arguments.model) if arguments.model else _train(Path(folder))
        measure(model, Path(folder), arguments.clips_per_label)


def measure(model: Model, folder: Path, clips_per_label: int) -> None:
    """Explain the label of each clip, by the model and by random networks."""
    cnn, scorer = build_cnn(model.description.backbone), load_scorer(model).eval()
    scorer.requires_grad_(False)
    scorers = [scorer, *(randomised(scorer, seed) for seed in range(NUM_RANDOM))]
    found: list[list[Importance]] = []  # per clip, of each network
    for label in REPEATED:
        target = model.description.labels.index(label)
        for number in range(clips_per_label):
            path = draw_still_clip(folder / f"{label}{number}.mp4", label, number)
            features = cnn_features(cnn, read_clip(path, model.description.clip))
            found.append([importance_for(one, features, target) for one in scorers])
        of_label = [share_in_middle(each[0].per_frame) for each in found[-clips_per_label:]]
        print(f"{label:>10}: {np.nanmean(of_label):.2f} in the middle third", flush=True)
    trained = [each[0] for each in found]
    print(f"  all {len(trained)}: {_describe([one.per_frame for one in trained])}")
    print(f"  leaving frames out: {_describe([one.occlusion for one in trained])}")
    agreed = [one.agreement or 0.0 for one in trained]
    print(f"  rank correlation of the two: {np.mean(agreed):.2f}, lowest {min(agreed):.2f}")
    for number in range(NUM_RANDOM):
        values = [each[1 + number].per_frame for each in found]
        print(f"  random network {number}: {_describe(values)}")


def _describe(values: list[Floats]) -> str:
    shares = np.array([share_in_middle(one) for one in values])
    shares = shares[~np.isnan(shares)]
    above = (shares > 0.5).mean()
    return f"{shares.mean():.3f} (chance 0.333); above a half in {above:.0%} of {len(shares)} clips"


def _train(folder: Path) -> Model:
    clips = draw_dataset(folder / "clips", clips_per_label=16).parent
    data_config = DataConfig(
        backbone=find_backbone(), clip=ClipSettings(), cache_dir=default_cache_dir()
    )
    plan = Plan(data=clips, data_config=data_config, head=HeadConfig())
    return save_run(fit_plan(plan), folder / "run").model


if __name__ == "__main__":
    main()
