"""The drawn clips: the same for the same seed, labelled right, and told apart by movement."""

import csv
import hashlib
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import OutputError, SettingsError
from activity_cli.sampledata import (
    ACTIONS,
    FRAME_RATES,
    SECONDS,
    captions,
    draw_dataset,
    make_clip,
    people,
    scenery,
)
from activity_cli.sampledata.actions import Motion, Style, perform
from activity_cli.sampledata.captions import VERBS
from activity_cli.sampledata.people import Body, Person, pose
from activity_cli.sampledata.scenery import Props

PAIR = ("sit_down", "stand_up")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of each of two actions: four people, of whom the first two come twice."""
    folder = tmp_path_factory.mktemp("sample") / "clips"
    return draw_dataset(folder, clips_per_label=6, seed=3, labels=PAIR).parent


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_table_lists_exactly_the_clips_and_everybody_does_everything(drawn: Path) -> None:
    with (drawn / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert sorted(row["path"] for row in rows) == sorted(
        path.relative_to(drawn).as_posix() for path in drawn.rglob("*.mp4")
    )
    assert {path.name for path in drawn.iterdir()} == {*PAIR, "labels.csv"}
    assert all(row["path"].startswith(f"{row['label']}/{row['group']}_") for row in rows)
    people = defaultdict(list)
    for row in rows:
        people[row["label"]].append(row["group"])
    assert set(people) == set(PAIR)
    assert sorted(people["sit_down"]) == sorted(people["stand_up"])
    assert len(set(people["sit_down"])) == 4


def test_clips_decode_to_what_their_headers_say(drawn: Path) -> None:
    import cv2

    for path in drawn.rglob("*.mp4"):
        capture = cv2.VideoCapture(str(path))
        frame_rate = capture.get(cv2.CAP_PROP_FPS)
        frames = []
        while (read := capture.read())[0]:
            frames.append(read[1])

        assert len(frames) == capture.get(cv2.CAP_PROP_FRAME_COUNT)
        assert frame_rate in FRAME_RATES
        assert SECONDS[0] - 0.05 <= len(frames) / frame_rate <= SECONDS[1] + 0.05
        assert {frame.shape for frame in frames} == {(240, 320, 3)}
        # Something is to be seen, and it moves.
        assert frames[0].std() > 10
        assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2


def test_same_seed_same_bytes_in_another_process_with_other_threads(
    drawn: Path, tmp_path: Path
) -> None:
    # Fewer clips and one label: what is drawn must not depend on what else is asked for.
    script = (
        "import sys, pathlib, cv2; cv2.setNumThreads(1);"
        "from activity_cli.sampledata import draw_dataset as draw;"
        "draw(pathlib.Path(sys.argv[1]), clips_per_label=2, seed=3, labels=['stand_up'])"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "again")], check=True)
    before, again = digests(drawn), digests(tmp_path / "again")

    assert len(again) == 3
    del again["labels.csv"]
    assert again.items() <= before.items()


def test_another_seed_gives_other_clips(drawn: Path, tmp_path: Path) -> None:
    draw_dataset(tmp_path, clips_per_label=1, seed=4, labels=PAIR[:1])

    assert not set(digests(tmp_path).values()) & set(digests(drawn).values())


@pytest.mark.parametrize("pair", [("sit_down", "stand_up"), ("pick_up", "put_down")])
def test_pairs_are_the_same_movement_in_reverse(pair: tuple[str, str]) -> None:
    progress = np.linspace(0, 1, 41)
    for seed in range(10):
        style = Style.draw(np.random.default_rng(seed), 2.0)
        first, second = (perform(label, progress, style) for label in pair)
        for field in fields(Motion):
            forwards, backwards = (getattr(motion, field.name) for motion in (first, second))
            np.testing.assert_allclose(forwards, backwards[::-1], atol=1e-9)
        # And they are a movement: the pelvis goes down by a third of a leg at least.
        assert np.ptp(first.pelvis[:, 1]) > 0.33


def test_middle_frames_of_a_pair_are_the_same_in_distribution() -> None:
    middle = np.array([0.5])
    heights = {
        label: [
            perform(label, middle, Style.draw(np.random.default_rng(seed), 2.0)).pelvis[0, 1]
            for seed in range(400)
        ]
        for label in PAIR
    }
    # Two means of 400 draws with a spread of about 0.13 differ by less than 0.03 (3 sigma).
    assert np.mean(heights["sit_down"]) == pytest.approx(np.mean(heights["stand_up"]), abs=0.03)
    assert np.std(heights["sit_down"]) == pytest.approx(np.std(heights["stand_up"]), abs=0.02)


def test_every_label_draws_the_same_random_surroundings() -> None:
    person = Person.draw(np.random.default_rng(0))
    clips = [make_clip(label, person, np.random.default_rng(1)) for label in ACTIONS]

    for clip in clips:
        assert clip.frame_rate == clips[0].frame_rate
        np.testing.assert_array_equal(clip.background, clips[0].background)
        np.testing.assert_array_equal(clip.light, clips[0].light)
        assert clip.grain_seed == clips[0].grain_seed


def test_bodies_keep_their_limbs_and_hands_reach_the_object() -> None:
    progress = np.linspace(0, 1, 21)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        body, style = Body.draw(rng), Style.draw(rng, 2.0)
        grips = Props.draw(rng, body).grips
        for label in ACTIONS:
            motion = perform(label, progress, style)
            joints = pose(body, motion, grips)
            for start, end in [("hips", "knees"), ("knees", "ankles")]:
                lengths = np.linalg.norm(joints[end] - joints[start], axis=-1)
                np.testing.assert_allclose(lengths, body.leg_length / 2, rtol=1e-6)
            assert joints["toes"][..., 1].min() > -0.05, f"{label}: a foot in the floor"
            gripping = motion.reach > 0.999
            missed = np.linalg.norm(joints["wrists"] - grips, axis=-1)[gripping]
            assert missed.max(initial=0) < 0.06, f"{label}: a hand misses the object"


def test_progress_is_told_for_every_clip(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    draw_dataset(
        tmp_path, clips_per_label=1, labels=PAIR, on_progress=lambda *step: heard.append(step)
    )

    assert heard == [("draw", done, 2) for done in (0, 1, 2)]


def test_interrupted_drawing_leaves_only_whole_clips(tmp_path: Path) -> None:
    def interrupt(_stage: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path, labels=PAIR, on_progress=interrupt)

    assert [path.name for path in tmp_path.iterdir()] == ["sit_down"]


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="moonwalk") as caught:
        draw_dataset(tmp_path / "out", labels=["walk", "moonwalk"])
    assert "stand_up" in caught.value.hint
    with pytest.raises(SettingsError, match="clips_per_label"):
        draw_dataset(tmp_path / "out", clips_per_label=0)
    with pytest.raises(SettingsError, match="seed"):
        draw_dataset(tmp_path / "out", seed=-1)
    assert not (tmp_path / "out").exists()


def test_folders_that_are_in_use_or_cannot_be_made_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")

    with pytest.raises(OutputError, match="already has files"):
        draw_dataset(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        draw_dataset(tmp_path / "kept.txt" / "below")
    with pytest.raises(OutputError, match="cannot be written"):
        draw_dataset(tmp_path / "kept.txt")


def test_captions_state_what_was_drawn_and_leave_the_clips_as_they_are(
    drawn: Path, tmp_path: Path
) -> None:
    draw_dataset(tmp_path, clips_per_label=2, seed=3, labels=PAIR, captions=True)

    with (tmp_path / "captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        assert (tmp_path / row["path"]).read_bytes() == (drawn / row["path"]).read_bytes()
        action = VERBS[row["path"].split("/")[0]]
        sentences = row["caption_1"], row["caption_2"]
        assert all(action.present in one or action.gerund in one for one in sentences)
        colours = [re.search(r"an? (\w+) shirt", one) for one in sentences]
        assert len({one and one[1] for one in colours} - {None}) == 1
        assert all("floor" in one or "grass" in one for one in sentences)
    assert len({row["caption_1"] for row in rows}) == 4


def test_every_colour_that_is_drawn_has_a_name() -> None:
    for names, palette in (
        (captions._TOPS, people._TOPS),
        (captions._BOTTOMS, people._BOTTOMS),
        (captions._HAIRS, people._HAIRS),
        (captions._FLOORS, scenery._FLOORS),
    ):
        assert sorted(" ".join(names.values()).split()) == sorted(palette.split())
