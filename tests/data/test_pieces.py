"""Pieces of long videos as training clips: checked against the video, and cut into windows."""

import csv
from pathlib import Path

import pytest

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.loading import load_dataset
from activity_cli.data.pieces import cut, prepare_pieces
from activity_cli.errors import DataError, SettingsError
from activity_cli.video.decoder_pool import DecoderPool
from activity_cli.video.reader import iter_frames
from tests.media import DrawClip, Picture, write_video
from tests.workplace import LABELS, QUICK, Workplace, rows_of


def spans(samples: list[Sample]) -> list[tuple[float | None, float | None]]:
    return [(sample.start_seconds, sample.end_seconds) for sample in samples]


def test_windows_spread_over_a_piece_and_stay_in_it() -> None:
    piece = Sample(path=Path("a.mp4"), name="a.mp4", label="run", start_seconds=10, end_seconds=17)

    assert spans(cut(piece, 60.0, 2.0)) == [(10, 12), (12.5, 14.5), (15, 17)]
    assert spans(cut(piece, 14.0, 2.0)) == [(10, 12), (12, 14)]  # as much as there is
    assert cut(piece, 60.0, 5.0) == [piece]  # hardly longer than a window
    assert cut(piece, None, 2.0) == [piece]
    whole = Sample(path=Path("a.mp4"), name="a.mp4", label="run")
    starts = [sample.start_seconds for sample in cut(whole, 3600.0, 2.0)]
    assert len(starts) == 8
    assert (starts[0], starts[-1]) == (0, 3598)


def test_a_piece_beyond_the_end_of_its_video_names_the_line(
    draw_clip: DrawClip, tmp_path: Path
) -> None:
    draw_clip("a.avi", frames=50, fps=10)
    table = tmp_path / "pieces.csv"

    def prepare(rows: str, window: float | None = None) -> Dataset:
        table.write_text("path,label,start,end\n" + rows)
        with DecoderPool() as pool:
            return prepare_pieces(load_dataset(table), pool, window_seconds=window)

    good = prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n")
    assert len(good.samples) == 2
    with pytest.raises(DataError, match=r"a.avi, line 3, column end: 50 s is beyond.* 5.0 s"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2.5,50\n")
    windows = prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n", window=1.0)
    assert spans(list(windows.samples)) == [(0, 1), (1.5, 2.5), (2.5, 3.5), (4, 5)]
    assert windows.groups() is not None  # those of one video stay together
    with pytest.raises(SettingsError, match="--window"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n", window=0.0)
    with pytest.raises(DataError, match="line 3, column start: the piece overlaps that of line 2"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2,5\n")
    with pytest.raises(DataError, match="line 4, column start: the piece overlaps that of line 2"):
        prepare("a.avi,run,0,5\na.avi,run,1,2\na.avi,wave,3,4\n")  # not neighbours by their start
    prepare("a.avi,run,0,2.5\na.avi,run,2,4\na.avi,wave,4,5\n")  # one label may overlap itself


def test_a_model_learns_from_long_videos(shared: Workplace, workplace: Workplace) -> None:
    with (workplace.folder / "pieces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "start", "end"])
        for number in range(6):
            frames: list[Picture] = []
            for label in LABELS:
                start = len(frames) / 25
                clips = sorted((shared.folder / "clips" / label).glob("*.mp4"))
                for clip in clips[2 * number : 2 * number + 2]:
                    frames += [frame for _, frame in iter_frames(clip)]
                writer.writerow([f"{number}.mp4", label, start, len(frames) / 25])
            write_video(workplace.folder / f"{number}.mp4", frames, fps=25)

    workplace.run("train", "pieces.csv", "--name", "long", "--window", "2", *QUICK)

    split = rows_of(workplace.folder / "runs" / "long" / "split.csv")
    assert len(split) > 18  # several windows of a piece
    parts: dict[str, set[str]] = {}
    for row in split:
        parts.setdefault(row["path"], set()).add(row["split"])
    assert all(len(names) == 1 for names in parts.values())  # no video is in two parts
    predicted = workplace.run("predict", "0.mp4", "--model", "runs/long", "--json").stdout
    assert '"segments": [{"start"' in predicted
