"""Where no groups are given, scenes suggest them, and the figure by them is the first one seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from activity_cli.data.scene_groups import WEAK, cluster
from tests.media import noise_pictures, write_video
from tests.workplace import FEW_PIXELS, Workplace

QUICK = ("--folds", "5", "--streams", "rgb", "--temporal", "mean", *FEW_PIXELS)


@pytest.mark.parametrize(("scenes", "clips"), [(2, 15), (6, 5), (25, 3)])
def test_scenes_are_found_however_many(scenes: int, clips: int) -> None:
    rng = np.random.default_rng(scenes)
    centres = rng.normal(size=(scenes, 40))
    true = np.repeat(np.arange(scenes), clips)

    found, silhouette = cluster(centres[true] + 0.3 * rng.normal(size=(len(true), 40)))

    assert silhouette > WEAK
    assert found.tolist() == true.tolist()  # numbered by their first clips


def test_clips_without_likeness_are_no_scenes() -> None:
    assert cluster(np.random.default_rng(0).normal(size=(60, 40)))[1] <= WEAK


def test_the_silhouette_is_that_of_scikit_learn() -> None:
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import silhouette_score

    values = np.random.default_rng(1).normal(size=(24, 6))
    values[12:] += 2
    found, silhouette = cluster(values)

    units = values - values.mean(axis=0)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    distances = np.clip(1 - units @ units.T, 0, None)
    np.fill_diagonal(distances, 0)
    best = 0.0
    for k in range(2, 24):
        model = AgglomerativeClustering(k, metric="precomputed", linkage="average")
        labels = model.fit_predict(distances)
        best = max(best, silhouette_score(distances, labels, metric="precomputed"))
    assert silhouette == pytest.approx(best, abs=1e-4)
    assert silhouette_score(distances, found, metric="precomputed") == pytest.approx(best, abs=1e-4)


def _draw_cameras(folder: Path) -> None:
    """Draw 9 clips of each of four cameras; nothing but the camera goes with the label."""
    walls = noise_pictures(4, (96, 72), seed=3)
    random = np.random.default_rng(0)
    for number in range(36):
        camera = number % 4
        label = "fight" if (camera < 2) == (number < 32) else "calm"
        frames = np.stack([walls[camera]] * 8)
        x, y = random.integers(0, 60, 2)
        for time, frame in enumerate(frames):
            frame[y : y + 8, x + 2 * time : x + 2 * time + 8] = 255
        write_video(folder / label / f"IMG_{number:04}.mp4", frames, 8)


@pytest.mark.slow
def test_the_accuracy_on_new_scenes_is_the_first_thing_seen(workplace: Workplace) -> None:
    clips = workplace.folder / "clips"
    _draw_cameras(clips)

    done = workplace.run("crossval", "clips", *QUICK, "--output", "cv")
    auto = workplace.run("crossval", "clips", *QUICK, "--groups", "auto", "--json")

    first = " ".join(done.stdout.split()).split(" Next: ")[0]
    assert first.startswith("Warning: No groups given")
    assert "groups of similar scenes, the largest of" in first
    metrics = json.loads((workplace.folder / "cv" / "metrics.json").read_text())
    assert metrics["conclusion"]["problem"] in first.removeprefix("Warning: ")
    random, grouped = (f["accuracy"][0] for f in metrics["suggested_groups"]["figures"])
    assert f"Accuracy {grouped:.1%} (95% CI" in first
    assert f"{random:.1%} in random folds" in first
    assert random == metrics["accuracy"]
    assert random > grouped + 0.1
    page = (workplace.folder / "cv" / "report.html").read_text()
    assert page.index("No groups given") < page.index(f"{grouped:.1%}")
    assert metrics["leakage"]["num_pairs"] == 0  # one scene is no copy
    alone = json.loads(auto.stdout)
    assert alone["accuracy"] == pytest.approx(grouped)
    assert alone["folds_by"] == "groups"
