"""Long videos as a user meets them: what happens when, in files and in the terminal."""

import csv
import json
import os
import shutil
import signal
from contextlib import closing
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from activity_cli import load_model
from activity_cli.common.cache import ENGINES, FEATURES, CheckedFiles
from activity_cli.features import video_cache
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import (
    OnSeconds,
    PredictConfig,
    WindowConfig,
    ignore,
    load_predictor,
)
from activity_cli.types import FileResult
from tests.action_weights import real_weights
from tests.media import iter_frames, write_video
from tests.processes import PATIENCE_SECONDS, stopped_reader
from tests.workplace import QUICK, Workplace, rows_of

ORDER = ("walk", "jump", "wave")


@pytest.fixture(scope="module")
def long_video(shared: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn clips of each action, one after the other."""
    frames = [
        frame
        for label in ORDER
        for clip in sorted((shared.folder / "clips" / label).glob("*.mp4"))[:3]
        for _, frame in iter_frames(clip)
    ]
    return write_video(tmp_path_factory.mktemp("long") / "long day.mp4", frames, fps=25)


def test_segments_say_what_happens_when(
    shared: Workplace, workplace: Workplace, long_video: Path
) -> None:
    predict = ("predict", str(long_video), "--model", str(shared.folder / "runs" / "first"))
    files = ("--segments", "what.csv", "--segments", "what.srt")

    done = workplace.run(*predict, "--output", "rows.csv", *files, "--json")

    [row] = rows_of(workplace.folder / "rows.csv")
    assert row["status"] == "ok"
    with (workplace.folder / "what.csv").open(newline="") as file:
        segments = list(csv.DictReader(file))
    seconds = float(row["seconds"])
    # In this order, one after the other, within the video; a clip of another person may be missed.
    found = [label for label, _ in groupby(segment["label"] for segment in segments)]
    assert [label for label in ORDER if label in found] == [*dict.fromkeys(found)]
    right = sum(
        max(
            0,
            min(float(s["end"]), (at + 1) * seconds / 3) - max(float(s["start"]), at * seconds / 3),
        )
        for s in segments
        for at in [ORDER.index(s["label"])]
    )
    assert right > 0.7 * seconds
    assert [float(s["end"]) for s in segments] == sorted(float(s["end"]) for s in segments)
    assert float(segments[-1]["end"]) <= seconds + 0.001
    [told] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["label"] for s in told["segments"]] == [s["label"] for s in segments]
    assert (workplace.folder / "what.srt").read_text().startswith("1\n00:00:00,")
    with load_model(shared.folder / "runs" / "first", cache_dir=shared.cache) as model:
        result = model.predict(long_video)
    assert [s.label for s in result.segments] == [s["label"] for s in segments]

    # The same again has nothing to do, and the files stay; those of others are not touched.
    before = {name: (workplace.folder / name).read_bytes() for name in ("what.csv", "what.srt")}
    again = workplace.run(*predict, "--output", "rows.csv", *files)
    assert "1 scored before" in again.stderr
    assert before == {name: (workplace.folder / name).read_bytes() for name in before}
    (workplace.folder / "notes.txt").write_text("precious")
    refused = workplace.run(
        *predict, "--output", "rows.csv", *files, "--segments", "notes.txt", code=1
    )
    assert "notes.txt exists" in refused.stderr
    assert (workplace.folder / "notes.txt").read_text() == "precious"


def test_pictures_are_made_of_each_video(
    shared: Workplace, workplace: Workplace, long_video: Path
) -> None:
    clip = next((shared.folder / "clips" / "walk").glob("*.mp4"))
    predict = ("predict", str(long_video), str(clip), "--model", str(shared.folder / "runs/first"))

    refused = workplace.run(*predict, "--storyboard", "seen.png", code=1)
    assert "{name}.png" in refused.stderr
    done = workplace.run(
        *predict, "--storyboard", "{name}.png", "--clips-dir", "pieces", "--only", "jump"
    )

    for video in (long_video, clip):
        assert (workplace.folder / f"{video.stem}.png").read_bytes().startswith(b"\x89PNG")
    pieces = list((workplace.folder / "pieces" / long_video.stem).iterdir())
    assert pieces
    assert all("_jump" in piece.name for piece in pieces)
    assert "Storyboard: long day.png" in done.stderr


def test_the_terminal_shows_a_timeline(
    shared: Workplace, workplace: Workplace, long_video: Path
) -> None:
    model = str(shared.folder / "runs" / "first")

    shown = workplace.run("predict", str(long_video), "--model", model).stdout
    whole = workplace.run("predict", str(long_video), "--model", model, "--whole").stdout

    assert "0:00" in shown
    assert "start" in shown
    assert "start" not in whole  # one clip over all of it has nothing to say of times
    refused = workplace.run("predict", str(long_video), "--whole", "--window", "2", code=2)
    assert "--whole" in refused.stderr
    refused = workplace.run("predict", str(long_video), "--window", "1", "--stride", "2", code=2)
    assert "gaps" in refused.stderr
    refused = workplace.run("predict", str(long_video), "--only", "swim", code=2)
    assert "no label swim" in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_a_decoder_that_dies_in_a_long_video_costs_its_row(
    shared: Workplace, workplace: Workplace, long_video: Path
) -> None:
    model = str(shared.folder / "runs" / "first")
    (workplace.folder / "a.mp4").symlink_to(long_video)
    (workplace.folder / "b.mp4").symlink_to(next((shared.folder / "clips/walk").glob("*.mp4")))
    # Without a cache, since for that the program itself would read the files, to hash them.
    predict = ("predict", "a.mp4", "b.mp4", "--model", model, "--output", "rows.csv", "--no-cache")
    running = workplace.start(*predict)

    os.kill(stopped_reader(long_video, of=running.pid), signal.SIGKILL)
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)

    rows = {Path(row["path"]).name: row for row in rows_of(workplace.folder / "rows.csv")}
    assert rows["b.mp4"]["status"] == "ok", stderr
    assert rows["a.mp4"]["status"] == "crashed"
    assert rows["a.mp4"]["label"] == ""
    workplace.run(*predict, "--retry-failed")
    assert {row["status"] for row in rows_of(workplace.folder / "rows.csv")} == {"ok"}


@pytest.fixture(scope="module")
def with_action(shared: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the action network beside the streams of `first`."""
    workplace = Workplace(tmp_path_factory.mktemp("with action"), shared.cache)
    workplace.environment["ACTIVITY_WEIGHTS"] = str(real_weights().parent)
    workplace.run("train", str(shared.folder / "clips"), "--name", "action", *QUICK)
    return workplace.folder / "runs" / "action"


class Scorer:
    """Scores a video, with a cache of its own."""

    def __init__(self, model: Path, video: Path, cache: Path) -> None:
        self.model, self.video, self.cache = model, video, cache
        self.on_seconds: OnSeconds = ignore

    def __call__(
        self, *, use_cache: bool = True, window: float | None = None, stride: float | None = None
    ) -> tuple[FileResult, bool]:
        """Return the result, and whether the video was decoded: without frames no network runs."""
        windows = WindowConfig(
            window_seconds=window, stride_seconds=stride, on_seconds=self.on_seconds
        )
        config = PredictConfig(cache_dir=self.cache, use_cache=use_cache, windows=windows)
        with closing(load_predictor(self.model, config)) as predictor:
            [result] = predictor.predict([ClipRequest(path=self.video)])
        return result, "decode" in result.stage_seconds


@pytest.fixture(params=["first", pytest.param("action", marks=pytest.mark.slow)])
def score(
    request: pytest.FixtureRequest,
    shared: Workplace,
    long_video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scorer:
    """Scores a copy of the video with the model `first`, or with one that has `action` too."""
    model = shared.folder / "runs" / "first"
    if request.param == "action":
        monkeypatch.setenv("ACTIVITY_WEIGHTS", str(real_weights().parent))
        model = request.getfixturevalue("with_action")
    shutil.copytree(shared.cache / ENGINES, tmp_path / "cache" / ENGINES)
    return Scorer(model, Path(shutil.copy(long_video, tmp_path)), tmp_path / "cache")


def same(one: FileResult, other: FileResult, *, tolerance: float = 0.0) -> None:
    assert one.timeline is not None
    assert other.timeline is not None
    np.testing.assert_allclose(one.timeline.scores, other.timeline.scores, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(one.timeline.starts_seconds, other.timeline.starts_seconds)
    told = [(r.status, r.num_frames, r.duration_seconds) for r in (one, other)]
    assert told[0] == told[1]
    places = [[(s.label, s.start_seconds) for s in r.segments] for r in (one, other)]
    assert places[0] == places[1]


def test_other_windows_are_made_of_cached_features(score: Scorer, shared: Workplace) -> None:
    has_action = score.model.name == "action"
    # Hidden units of the action network are computed of float16 values where they are cached.
    bound = 1e-3 if has_action else 0.0

    first, was_decoded = score()
    assert was_decoded
    same(first, score(use_cache=False)[0], tolerance=bound)
    again, was_decoded = score()
    assert not was_decoded
    same(again, first)
    # Windows of the action network are kept by their length and stride.
    for window, stride in ((2.9, None), (None, 1.0)):
        found, was_decoded = score(window=window, stride=stride)
        assert was_decoded == has_action
        same(found, score(use_cache=False, window=window, stride=stride)[0], tolerance=bound)
        again, was_decoded = score(window=window, stride=stride)
        assert not was_decoded
        same(again, found)
    # The CNN's features are those of a model without the action network.
    without = Scorer(shared.folder / "runs" / "first", score.video, score.cache)
    assert not without()[1]


@pytest.mark.slow
def test_what_goes_wrong_with_the_cache_only_costs_time(score: Scorer) -> None:
    plain, _ = score(use_cache=False)
    bound = 1e-3 if score.model.name == "action" else 0.0

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def touch(path: Path, *_: object) -> None:
        os.utime(path, (1, 1))

    def read_too(*_: object) -> None:
        score.on_seconds = ignore
        same(score()[0], plain, tolerance=bound)

    score.on_seconds = stop
    with pytest.raises(KeyboardInterrupt):
        score()
    score.on_seconds = touch  # the features may be those of two contents
    assert score()[1]
    score.on_seconds = read_too  # another run writes the same at the same time
    first, was_decoded = score()
    assert was_decoded
    same(first, plain, tolerance=bound)
    kept, was_decoded = score()
    assert not was_decoded
    same(kept, first)
    for part in sorted(score.cache.rglob("0.video")):
        part.write_bytes(part.read_bytes()[:-9])  # a damaged part counts as absent
        same(score()[0], plain, tolerance=bound)
        same(score()[0], first)
        assert not score()[1]  # it was written anew
    shutil.rmtree(score.cache / FEATURES / "videos")
    (score.cache / FEATURES / "videos").touch()  # nothing can be written there
    same(score()[0], plain, tolerance=bound)


def test_the_oldest_videos_leave_a_full_cache(tmp_path: Path) -> None:
    files = CheckedFiles(tmp_path)
    for number in range(4):
        files.write(f"videos/{number}/0.video", bytes(1000))
        os.utime(tmp_path / "videos" / str(number), (number, number))

    video_cache.drop_oldest(tmp_path / "videos", 2500)

    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["2", "3"]
