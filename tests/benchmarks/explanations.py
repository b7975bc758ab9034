"""Do explanations point to where the action is? Somebody stands still, acts, and stands still.

    python -m tests.benchmarks.explanations [--model runs/NAME] [--clips-per-label 8]

Prints how much of what speaks for the action lies in the middle third of the clip, which it fills
(chance is 1/3): by contributions, by leaving frames out, and for networks with the same CNN whose
other weights are random. Without --model one is trained first, on ordinary drawn clips.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean

from activity_cli import backbones
from activity_cli.backbones import find_backbone
from activity_cli.bundle import Model, load_model
from activity_cli.clips import read_clip
from activity_cli.explaining.explainer import explain_clip
from activity_cli.explaining.values import Explanation
from activity_cli.features import ClipRequest
from activity_cli.labelled import Reading
from activity_cli.paths import default_cache_dir
from activity_cli.runs import train_model
from activity_cli.sampledata import draw_dataset
from activity_cli.sampledata.actions import REPEATED
from activity_cli.settings import ClipSettings, NetworkSettings, TrainSettings
from activity_cli.training import load_scorer
from tests.stillness import draw_still_clip, randomised, says_for, share_in_middle

NUM_RANDOM = 3


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
    cnn, scorer = backbones.build(model.description.backbone), load_scorer(model)
    scorers = [scorer, *(randomised(scorer, seed) for seed in range(NUM_RANDOM))]
    found: dict[str, list[list[Explanation]]] = {}
    for label in REPEATED:
        for number in range(clips_per_label):
            path = draw_still_clip(folder / f"{label}{number}.mp4", label, number)
            clip = read_clip(path, model.description.clip)
            request = ClipRequest(path=path)
            found.setdefault(label, []).append(
                [
                    explain_clip(model, request, clip, cnn=cnn, scorer=one, label=label)
                    for one in scorers
                ]
            )
        shares = [says_for(explained[0]) for explained in found[label]]
        print(f"{label:>10}: {mean(shares):.2f} in the middle third", flush=True)
    everything = [explained for of_label in found.values() for explained in of_label]
    trained = [explained[0] for explained in everything]
    print(f"  all {len(trained)}: {_describe([says_for(e) for e in trained])}")
    left_out = [share_in_middle(e.importance.occlusion) for e in trained]
    print(f"  leaving frames out: {_describe(left_out)}")
    agreed = [e.importance.agreement or 0.0 for e in trained]
    print(f"  rank correlation of the two: {mean(agreed):.2f}, lowest {min(agreed):.2f}")
    right = [explained for explained in trained if explained.prediction.label == explained.label]
    if right:
        print(f"  the {len(right)} named rightly: {_describe([says_for(e) for e in right])}")
    for number in range(NUM_RANDOM):
        shares = [says_for(explained[1 + number]) for explained in everything]
        print(f"  random network {number}: {_describe(shares)}")


def _describe(shares: list[float]) -> str:
    above = mean(share > 0.5 for share in shares)
    return f"{mean(shares):.3f} (chance 0.333); above a half in {above:.0%} of clips"


def _train(folder: Path) -> Model:
    clips = draw_dataset(folder / "clips", clips_per_label=16).parent
    reading = Reading(backbone=find_backbone(), clip=ClipSettings(), cache_dir=default_cache_dir())
    run = train_model(
        clips, reading, folder / "run", network=NetworkSettings(), settings=TrainSettings()
    )
    return run.model


if __name__ == "__main__":
    main()
