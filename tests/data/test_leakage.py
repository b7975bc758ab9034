"""What is on both sides of a split is found and said, and groups in names are offered."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from activity_cli.data.dataset import Dataset, Sample, balance_warnings, describe_counts
from activity_cli.data.inspection.duplicates import are_copies
from activity_cli.data.leakage import find_leakage
from activity_cli.data.name_groups import group_by_name, guess_groups
from activity_cli.settings import TrainSettings
from tests.media import noise_pictures, write_video
from tests.workplace import FEW_PIXELS, Workplace, rows_of


def _dataset(names: Sequence[str]) -> Dataset:
    """Samples whose labels are the folders that they are in."""
    samples = tuple(Sample(path=Path("/", n), name=n, label=n.split("/")[0]) for n in names)
    return Dataset(
        root=Path("/"), samples=samples, labels=tuple(sorted({s.label for s in samples}))
    )


def _names(pattern: str, *, labels: Sequence[str] = ("run", "wave", "sit")) -> list[str]:
    """Four groups g of three clips i in each label."""
    return [
        f"{label}/{pattern.format(label=label, g=g, i=i, who='abcd'[g] * 5)}"
        for label in labels
        for g in range(4)
        for i in range(3)
    ]


@pytest.mark.parametrize(
    ("habit", "group"),
    [
        ("v_{label}_g{g:02}_c{i:02}.avi", "g03"),  # UCF-101
        ("person{g:02}_{label}_d{i}_uncomp.avi", "person03"),  # KTH
        ("{who}_film_{label}_f_nm_np1_ba_med_{i}.avi", "ddddd_film_run"),  # HMDB-51
        ("S001C00{i}P00{g}R001A005.avi", "P003"),  # NTU RGB+D
        ("{who}_{label}{i}.avi", "ddddd"),  # Weizmann
        ("subject-{g} take {i}.mp4", "subject-3"),
        ("2024_cam{g}_{i}.mp4", "cam3"),
        ("S{g:02}_{i}.mp4", "S03"),
        ("fight{g}_{i:03}.mp4", "fight3"),
        ("holiday {g} part{i}.mp4", "holiday 3"),
    ],
)
def test_groups_in_names_are_seen(habit: str, group: str) -> None:
    dataset = _dataset(_names(habit))

    guess = guess_groups(dataset)

    assert guess is not None
    assert group in guess.names
    assert len(guess.names) == (12 if "film" in group else 4)
    # The option that is offered does what the guess says.
    groups = {s.group for s in group_by_name(dataset, guess.pattern).samples}
    assert groups == set(guess.names)
    assert len(guess.pattern) < 60  # to be typed again


@pytest.mark.parametrize(
    "habit",
    [
        "{g}{i}.mp4",
        "{label}_{g}{i}.mp4",
        "IMG_{g}{i}.mp4",
        "{label}{g}{i}.avi",
        "a{g}b{i}c.mp4",
        "video{g}{i}.mp4",
        "s{g}{i}.mp4",
        "2024-{g}{i}.mp4",
        "{g}{i}_{label}.mp4",
    ],
)
def test_numbered_clips_are_no_groups(habit: str) -> None:
    assert guess_groups(_dataset(_names(habit))) is None


def test_what_crosses_parts_is_found_and_nothing_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(12, 2, 16, 64)).astype(np.float16)
    features[7] = features[0] + generator.normal(size=(2, 16, 64)) * 0.4  # crosses
    features[2] = features[1]  # both in train
    paths = [tmp_path / f"{number}.mp4" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(b"same" if number in {3, 9} else f"{number:04}".encode())
    paths[11] = paths[4]  # two pieces of one video
    samples = tuple(Sample(path=path, name=path.name, label="a") for path in paths)
    part = np.array([0] * 6 + [1] * 2 + [2] * 4)

    found = find_leakage(
        Dataset(root=tmp_path, samples=samples, labels=("a",)),
        features,
        part,
        ("train", "val", "test"),
    )

    pairs = {(leak.kind, leak.first, leak.second) for leak in found.leaks}
    assert pairs == {("near copy", 0, 7), ("same file", 3, 9), ("same video", 4, 11)}
    (line,) = found.lines()
    assert line.startswith("Leakage: 3 pairs of clips across train, val, test")


def test_a_candidate_is_a_copy_only_if_the_files_move_alike(tmp_path: Path) -> None:
    walls = noise_pictures(2, (96, 72))
    paths = []
    for number, (wall, seed) in enumerate([(0, 0), (0, 0), (0, 1), (1, 0)]):
        shades = np.random.default_rng(seed).integers(0, 255, 24)
        frames = np.stack([walls[wall]] * 24)
        for time, shade in enumerate(shades.tolist()):
            frames[time, 24:48, 3 * time : 3 * time + 24] = shade
        paths.append(write_video(tmp_path / f"{number}.{('mp4', 'avi')[number % 2]}", frames, 10))
    samples = tuple(Sample(path=path, name=path.name, label="a") for path in paths)
    features = np.ones((4, 1, 2, 8)) * np.array([1, 1, 1, -1])[:, None, None, None]

    found = find_leakage(
        Dataset(root=tmp_path, samples=samples, labels=("a",)),
        features,
        np.array([0, 1, 1, 1]),
        ("train", "val"),
        confirm=are_copies,
    )

    # Of one scene are the first three; only the first two are one recording.
    assert [(leak.first, leak.second) for leak in found.leaks] == [(0, 1)]
    assert found.num_pairs == 1


def test_near_copies_are_counted_all_and_listed_up_to_a_bound() -> None:
    # 700 clips that look all alike make 122,500 pairs across two parts.
    names = [f"a/{number}" for number in range(700)]
    features = np.random.default_rng(0).normal(size=(700, 1, 2, 8)).astype(np.float32)
    features[:690] = features[0]

    found = find_leakage(_dataset(names), features, np.arange(700) % 2, ("1", "2"))

    assert len(found.leaks) == 100
    assert found.num_pairs == found.to_json()["num_pairs"] == 345 * 345
    (line,) = found.found_lines()
    assert line.startswith("Leakage: 119025 pairs of clips across folds (119025 near duplicates;")


def test_counts_are_told_and_uneven_ones_come_with_what_helps() -> None:
    uneven = _dataset([f"wave/{i}" for i in range(40)] + [f"run/{i}" for i in range(9)])
    plain, focal = TrainSettings(), TrainSettings(class_weights="none")

    assert describe_counts(uneven) == "49 clips of 2 labels: run 9, wave 40."
    first, second = balance_warnings(uneven, plain)
    assert "wave has 40 clips, run 9" in first
    assert "Class weights compensate" in first
    assert "Few clips: run 9." in second
    assert "Add --class-weights balanced" in balance_warnings(uneven, focal)[0]
    even = _dataset([f"wave/{i}" for i in range(30)] + [f"run/{i}" for i in range(10)])
    assert balance_warnings(even, plain) == []


@pytest.mark.slow
def test_train_says_what_leaks_and_groups_from_names_keep_it_apart(
    shared: Workplace, workplace: Workplace
) -> None:
    # Names that tell the person, in folders without a CSV; and some clips are there twice.
    clips, quick = workplace.folder / "clips", ("--temporal", "mean", "--epochs", "1", *FEW_PIXELS)
    for number, row in enumerate(rows_of(shared.folder / "clips" / "labels.csv")):
        target = clips / row["label"] / f"{row['group']}_{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared.folder / "clips" / row["path"], target)
    for number, clip in enumerate(sorted((clips / "walk").iterdir())[:5]):
        shutil.copy(clip, clip.with_name(f"person99_{number}.mp4"))

    guessed = workplace.run("crossval", "clips", "--folds", "2", *quick, "--output", "cv")
    stopped = workplace.run("crossval", "clips", "--folds", "2", *quick, "--strict", code=1)
    grouped = workplace.run("train", "clips", "--groups", r"person\d+", *quick, "--name", "grouped")

    assert "41 clips of 3 labels: jump 12, walk 17, wave 12." in guessed.stderr
    told = " ".join(guessed.stderr.split())
    leakage = json.loads((workplace.folder / "cv" / "metrics.json").read_text())["leakage"]
    assert 0 < leakage["num_pairs"] <= 5
    assert {pair["kind"] for pair in leakage["pairs"]} == {"same file"}
    assert f"across folds ({leakage['num_pairs']} identical files; walk/person" in told
    assert leakage["suggested_groups"]["num_in_several_parts"] > 0
    assert "Suggested: 7 groups in the names, such as person00 and person99" in told
    assert r"Use `--groups 'person\d+'`" in told
    assert stopped.stderr.splitlines()[-2].startswith("Error: Leakage: ")
    assert "No groups given" not in grouped.stderr
    split = rows_of(workplace.folder / "runs" / "grouped" / "split.csv")
    parts = {(row["group"], row["split"]) for row in split}
    assert len(parts) == len({group for group, _ in parts}) == 7


@pytest.mark.slow
def test_folds_that_groups_cross_are_not_said_to_be_held_out_by_group(
    shared: Workplace, workplace: Workplace
) -> None:
    lines = ["path,label,group,fold"]
    for number, row in enumerate(rows_of(shared.folder / "clips" / "labels.csv")):
        path = shared.folder / "clips" / row["path"]
        lines.append(f"{path},{row['label']},{row['group']},{number % 2}")
    (workplace.folder / "crossed.csv").write_text("\n".join(lines))
    options = ("--fold-column", "fold", "--temporal", "mean", "--epochs", "1", *FEW_PIXELS)

    done = workplace.run("crossval", "crossed.csv", *options, "--json")

    conclusion = json.loads(done.stdout)["conclusion"]
    assert conclusion["sentence"].endswith("of 6 groups, 6 of which are in several folds.")
    assert conclusion["problem"].startswith("Leakage: 6 groups of the data in several folds")
