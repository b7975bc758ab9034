"""Several actions at once: from events that overlap to a model, its figures and its segments."""

import csv
import json
import re
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from activity_cli.data.loading import load_dataset
from activity_cli.data.windows import prepare_pieces
from activity_cli.errors import DataError
from activity_cli.model.calibration import choose_thresholds
from activity_cli.model.folder import load_model
from activity_cli.predict.label_selection import LabelSelection
from activity_cli.predict.segments import find_segments
from activity_cli.types import Timeline
from activity_cli.video.decoder_pool import DecoderPool
from tests.made_once import made_once
from tests.media import Picture, write_video
from tests.workplace import FEW_PIXELS, Workplace, rows_of

SECONDS, FPS = 16, 10
QUICK = ("--streams", "rgb", "--epochs", "4", "--window", "2", *FEW_PIXELS)


def draw_events(path: Path, events: dict[str, tuple[float, float]], seed: int) -> None:
    """A red square appears at the left (eat), a blue one at the right (walk), before noise."""
    noise = np.random.default_rng(seed)

    def pictures() -> list[Picture]:
        found = []
        for number in range(SECONDS * FPS):
            picture = noise.integers(60, 120, (48, 64, 3), np.uint8)
            for label, (start, end) in events.items():
                if start <= number / FPS < end:
                    place = slice(4, 28) if label == "eat" else slice(36, 60)
                    picture[12:36, place] = (230, 20, 20) if label == "eat" else (20, 20, 230)
            found.append(picture)
        return found

    write_video(path, pictures(), FPS)


@pytest.fixture(scope="session")
def home(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """`videos` of two actions that overlap, of which `runs/both` is trained."""

    def make(folder: Path) -> None:
        (folder / "videos").mkdir()
        with (folder / "videos" / "labels.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "start", "end"])
            for number in range(6):
                shift = number * 0.6
                spans = {"eat": (2 + shift, 8 + shift), "walk": (5 + shift, 12 + 0.5 * shift)}
                draw_events(folder / "videos" / f"day{number}.avi", spans, seed=number)
                for label, (start, end) in spans.items():
                    writer.writerow([f"day{number}.avi", label, start, end])
        place = Workplace(folder, folder / "cache")
        done = place.run("train", "videos", "--name", "both", *QUICK)
        (folder / "log").write_text(done.stderr + done.stdout)

    del prepared
    folder = made_once(tmp_path_factory, "multi-label", make)
    return Workplace(folder, folder / "cache")


def test_overlapping_labels_are_learned_and_found(home: Workplace) -> None:
    log = (home.folder / "log").read_text()
    assert "Multi-label: several actions may happen at once" in log
    metrics = json.loads((home.folder / "runs/both/metrics.json").read_text())
    assert metrics["timelines"]["frame_map"] > 0.9
    assert metrics["timelines"]["segment_f1"]["0.5"] > 0.9
    assert f"Frame mAP {metrics['timelines']['frame_map']:.1%}" in log
    model = load_model(home.folder / "runs/both").description
    assert (model.multi_label, model.format_version) == (True, 4)
    assert model.thresholds is not None
    assert model.thresholds.shape == (2,)

    [row] = json.loads(
        "[" + home.run("predict", "videos/day0.avi", "--model", "runs/both", "--json").stdout + "]"
    )

    spans = {s["label"]: (s["start"], s["end"]) for s in row["segments"]}
    assert spans["eat"] == pytest.approx((2, 8), abs=1.0)  # half a window
    assert spans["walk"] == pytest.approx((5, 12), abs=1.0)
    assert {row["label"], row["label_2"]} == {"eat", "walk"}
    assert row["label_3"] is None
    shown = home.run("predict", "videos/day0.avi", "--model", "runs/both").stdout
    lanes = [line for line in shown.splitlines() if "·····" in line]
    assert len(lanes) == 2
    assert "none 0:0" in shown


def test_pictures_show_labels_that_overlap_below_each_other(home: Workplace) -> None:
    picture = home.folder / "board.png"

    home.run("predict", "videos/day1.avi", "--model", "runs/both", "--storyboard", str(picture))

    board = cv2.imread(str(picture))
    assert board is not None
    rows = board[-100:]  # the band, and the times below it
    eat, walk = ("#e69f00", "#56b4e9")  # the first colours of figures
    places = []
    for colour in (eat, walk):
        blue_green_red = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
        is_colour = (np.abs(rows.astype(int) - blue_green_red) < 12).all(axis=2)
        places.append(np.flatnonzero(is_colour.sum(axis=1) > 100))
    assert all(map(len, places))
    assert places[0].max() < places[1].min()


@pytest.mark.parametrize("ending", ["eaf", "boris"])
def test_overlapping_segments_are_read_again(home: Workplace, ending: str) -> None:
    files = ("--segments", f"found.{ending}", "--segments", f"{ending}.csv")
    home.run("predict", "videos/day1.avi", "--model", "runs/both", *files)

    home.run("import", f"found.{ending}", "--videos", "videos", "--output", f"{ending}-again.csv")

    def spans(name: str) -> list[tuple[str, float, float]]:
        rows = rows_of(home.folder / name)
        return sorted((r["label"], float(r["start"]), float(r["end"])) for r in rows if r["label"])

    written, read = spans(f"{ending}.csv"), spans(f"{ending}-again.csv")
    assert [one[0] for one in read] == ["eat", "walk"]
    assert read[1][1] < read[0][2]  # walk begins before eat ends
    for one, other in zip(written, read, strict=True):
        assert other[1:] == pytest.approx(one[1:], abs=1 / FPS)


def test_nothing_is_an_answer(home: Workplace) -> None:
    draw_events(home.folder / "empty.avi", {}, seed=99)

    shown = home.run("predict", "empty.avi", "--model", "runs/both", "--json").stdout

    row = json.loads(shown)
    assert (row["label"], row["label_2"], row["segments"]) == ("none", None, [])


def test_figures_equal_those_of_scikit_learn(home: Workplace) -> None:
    home.run("evaluate", "runs/both", "videos", "--output", "measured")

    rows = rows_of(home.folder / "measured" / "predictions.csv")
    metrics = json.loads((home.folder / "measured" / "metrics.json").read_text())
    truth = np.array(
        [[one in r["true_label"].split(" + ") for one in metrics["labels"]] for r in rows]
    )
    chosen = np.array([[one in r["label"].split(" + ") for one in metrics["labels"]] for r in rows])
    scores = np.array([[float(r[f"score_{one}"]) for one in metrics["labels"]] for r in rows])
    assert (~truth.any(axis=1)).sum() > 10
    assert (truth.all(axis=1)).sum() > 10
    thresholds = load_model(home.folder / "runs/both").description.thresholds
    np.testing.assert_array_equal(chosen, scores >= thresholds)
    expected = precision_recall_fscore_support(truth, chosen, average=None, zero_division=0)
    for row, *values in zip(metrics["per_label"], *expected, strict=True):
        own = [row["precision"], row["recall"], row["f1"], row["num_clips"]]
        assert own == pytest.approx(values, abs=1e-4)
    precisions = average_precision_score(truth, scores, average=None)
    found = [row["average_precision"] for row in metrics["per_label"]]
    assert found == pytest.approx(precisions, abs=1e-4)
    assert metrics["mean_average_precision"] == pytest.approx(precisions.mean(), abs=1e-4)
    assert metrics["accuracy"] == pytest.approx((truth == chosen).all(axis=1).mean(), abs=1e-4)
    page = (home.folder / "measured" / "report.html").read_text()
    assert "Frame mAP" in page
    assert "Confusion matrix" not in page


def test_each_decoded_frame_has_one_row(home: Workplace) -> None:
    home.run("predict", "videos/day0.avi", "--model", "runs/both", "--frames", "both.csv")

    rows = rows_of(home.folder / "both.csv")
    assert list(rows[0]) == ["frame", "seconds", "eat", "walk"]
    assert [int(r["frame"]) for r in rows] == list(range(SECONDS * FPS))
    times = np.arange(SECONDS * FPS) / FPS
    np.testing.assert_allclose([float(r["seconds"]) for r in rows], times, atol=1e-3)
    high = {label: [float(r[label]) > 0.5 for r in rows] for label in ("eat", "walk")}
    assert (high["eat"][60], high["walk"][60]) == (True, True)  # at 6 s
    assert (high["eat"][30], high["walk"][30]) == (True, False)
    assert (high["eat"][105], high["walk"][105]) == (False, True)
    # A clip has one score per label, whatever the model.
    write_video(home.folder / "short.avi", [np.zeros((48, 64, 3), np.uint8)] * 7, FPS)
    files = ("short.avi", "videos/day0.avi")
    done = home.run("predict", *files, "--model", "surveillance-fight", "--frames", "f.csv", code=1)
    assert "Put {name} into its name" in done.stderr
    home.run("predict", "short.avi", "--model", "surveillance-fight", "--frames", "{name}.csv")
    rows = rows_of(home.folder / "short.csv")
    assert len(rows) == 7
    assert len({r["fight"] for r in rows}) == 1
    assert float(rows[0]["fight"]) + float(rows[0]["noFight"]) == pytest.approx(1, abs=1e-5)


def test_time_that_nobody_looked_at_teaches_nothing(tmp_path: Path) -> None:
    draw_events(tmp_path / "a.avi", {}, seed=1)
    table = tmp_path / "labels.csv"

    def windows(rows: str) -> list[tuple[float | None, float | None, str]]:
        table.write_text("path,label,start,end\n" + rows)
        with DecoderPool() as pool:
            data = load_dataset(table, multi_label=True)
            found = prepare_pieces(data, pool, window_seconds=2).samples
        return [(s.start_seconds, s.end_seconds, s.label) for s in found]

    looked = windows("a.avi,,4,8\na.avi,eat,5,8\na.avi,walk,7,8\na.avi,eat,11,13\n")

    assert looked == [
        (4, 6, "eat"),
        (5, 7, "eat"),
        (6, 8, "eat + walk"),
        (11, 13, "eat"),
    ]
    everything = windows("a.avi,eat,5,8\n")  # without such a row all of it counts
    assert (everything[0], everything[-1]) == ((0, 2, "none"), (14, 16, "none"))
    assert all(b[0] - a[0] <= 1 for a, b in pairwise(everything))  # type: ignore[operator]
    with pytest.raises(DataError, match="No window holds enough of 'walk'"):
        windows("a.avi,,4,8\na.avi,eat,5,8\na.avi,walk,11,11.5\n")
    with pytest.raises(DataError, match="column label: the value is empty"):
        windows("a.avi,,,\na.avi,eat,5,8\n")


def test_overlaps_are_refused_where_one_label_was_asked_for(home: Workplace) -> None:
    done = home.run("train", "videos", "--no-multi-label", code=1)
    assert "overlaps that of line" in done.stderr
    assert "--multi-label" in done.stderr
    done = home.run("evaluate", "surveillance-fight", "videos", code=1)
    assert "overlaps that of line" in done.stderr
    done = home.run("train", "videos", "--cnn", "finetune", code=2)
    assert "the data is multi-label" in done.stderr
    done = home.run("train", "videos", "--background-label", "walk", code=1)
    assert "time without an event is background" in done.stderr


def test_labels_are_dropped_and_renamed_but_not_added(home: Workplace) -> None:
    def predicted(*options: str) -> dict[str, Any]:
        more = ("--model", "runs/both", "--all-scores", "--json", *options)
        found: dict[str, Any] = json.loads(home.run("predict", "videos/day0.avi", *more).stdout)
        return found

    whole, chosen = predicted(), predicted("--labels", "walk=go", "--reject", "auto")

    assert chosen["score:go"] == whole["score:walk"]
    assert [name for name in chosen if name.startswith("score:")] == ["score:go"]
    walks = [s | {"label": "go"} for s in whole["segments"] if s["label"] == "walk"]
    assert chosen["segments"] == walks
    model = load_model(home.folder / "runs/both").description
    assert model.calibration is not None
    model = replace(model, calibration=replace(model.calibration, thresholds=(0.2, 0.7)))
    assert LabelSelection(("walk=go",)).select(model)[0].thresholds == pytest.approx([0.7])
    for added in (("--labels", "walk=go,eat=go"), ("--labels", "walk", "--unknown")):
        options = ("--model", "runs/both", *added)
        done = home.run("predict", "videos/day0.avi", *options, code=2)
        assert "are not added" in done.stderr


def test_a_number_rejects_by_the_ood_score(home: Workplace) -> None:
    def answers(bound: str) -> tuple[str, int]:
        options = ("--model", "runs/both", "--json", "--reject", bound)
        row = json.loads(home.run("predict", "videos/day0.avi", *options).stdout)
        return row["label"], len(row["segments"])

    assert answers("0.01") == ("unknown", 0)
    assert answers("50") == answers("off") != ("unknown", 0)
    options = ("--model", "runs/both", "--reject", "some")
    assert "OOD" in home.run("predict", "videos/day0.avi", *options, code=2).stderr


def test_simpler_heads_are_compared_by_average_precision(home: Workplace) -> None:
    done = home.run("crossval", "videos", "--compare", "--folds", "2", "--output", "cv", *QUICK)

    metrics = json.loads((home.folder / "cv" / "metrics.json").read_text())
    heads = metrics["heads"]
    assert list(heads) == ["majority", "single frame", "mean-pool", "lstm"]
    assert heads["lstm"]["mean_average_precision"] == metrics["mean_average_precision"]
    counts = [row["num_clips"] / metrics["num_clips"] for row in metrics["per_label"]]
    # One answer for all windows of a fold: hardly more precise than chance.
    majority = heads["majority"]["mean_average_precision"]
    assert majority == pytest.approx(np.mean(counts), abs=0.1)
    assert heads["mean-pool"]["mean_average_precision"] > 0.9
    for name, head in heads.items():
        [row] = re.findall(rf"^{name} +([\d.]+)% .* ([\d.]+)%$", done.stdout, re.MULTILINE)
        figures = [100 * head["mean_average_precision"], 100 * head["macro_f1"]]
        assert [float(cell) for cell in row] == pytest.approx(figures, abs=0.06)
    assert "vs mean pooling" in done.stdout or "mean pooling, which ignores" in done.stdout
    page = (home.folder / "cv" / "report.html").read_text()
    assert '<td class="label">mean-pool</td>' in page
    compared = home.run("compare", "runs/both", "cv").stdout
    assert re.search(rf"^cv .* {metrics['mean_average_precision']:.1%} ", compared, re.MULTILINE)


@pytest.mark.slow
def test_settings_are_tuned_for_several_labels(home: Workplace) -> None:
    search = ("--trials", "2", "--search", "temporal", "--try-frames", "8", "--workers", "1")
    options = (*search, "--folds", "2", "--nested", "--multi-label", "--output", "tuned", *QUICK)

    done = home.run("tune", "videos", *options)

    metrics = json.loads((home.folder / "tuned" / "metrics.json").read_text())
    for found in (metrics["best"], metrics["nested"]["tuned"], metrics["nested"]["default"]):
        assert found["mean_average_precision"] > 0.9
        assert found["accuracy"] > 0.8  # exactly the right labels, at thresholds of their own
    assert re.search(r"^mAP +\d+\.\d%", done.stdout, re.MULTILINE)
    [first, _] = rows_of(home.folder / "tuned" / "trials.csv")
    default = metrics["default"]["mean_average_precision"]
    assert float(first["mean_average_precision"]) == pytest.approx(default, abs=1e-4)
    best = tomllib.loads((home.folder / "tuned" / "best.toml").read_text())
    assert best["labels"]["multi_label"] is True  # what `train --settings` has to know


def test_a_threshold_is_moved_from_a_half_only_for_a_clear_gain() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.35, 0.2]])
    targets = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], np.float32)

    first, second = choose_thresholds(scores, targets)

    assert 0.2 < first <= 0.3
    assert 0.7 < second <= 0.8
    assert choose_thresholds(scores, np.zeros((4, 2))) == (0.5, 0.5)
    # 40 of 100 positives are below 0.5 and above all negatives: 0.5 would lose them.
    positives, negatives = np.linspace(0.3, 0.8, 100), np.linspace(0.0, 0.28, 100)
    truth = np.repeat([[1.0], [0.0]], 100, axis=0)
    [moved] = choose_thresholds(np.concatenate([positives, negatives])[:, None], truth)
    assert 0.25 < moved < 0.35


def test_segments_of_labels_are_decided_one_by_one() -> None:
    starts = np.arange(20.0)
    scores = np.zeros((20, 2), np.float32)
    scores[4:12, 0], scores[8:16, 1] = 0.4, 0.9
    timeline = Timeline(
        labels=("a", "b"),
        starts_seconds=starts,
        window_seconds=2.0,
        end_seconds=21.0,
        scores=scores,
        thresholds=np.array([0.2, 0.5]),
    )

    found = {s.label: (s.start_seconds, s.end_seconds) for s in find_segments(timeline)}

    assert found["a"] == pytest.approx((4.5, 12.5), abs=0.5)
    assert found["b"] == pytest.approx((8.5, 16.5), abs=0.5)
