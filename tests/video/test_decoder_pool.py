"""A batch whose decoders crash and hang: the file pays, nobody else, and nothing is lost."""

import json
import os
import signal
from pathlib import Path

import pytest

from activity_cli import load_model
from activity_cli.errors import SettingsError
from activity_cli.video.decoder_pool import DecoderPool, Decoders
from tests.media import noise_pictures, plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS, limit_memory_of_workers, stopped_reader
from tests.workplace import Workplace, rows_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")


@pytest.fixture(scope="module")
def slow_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that takes a second or more, since an AVI is not sought in."""
    pictures = noise_pictures(10, (1280, 720)) * 40
    return write_video(tmp_path_factory.mktemp("slow") / "1slow.avi", pictures, fps=25)


@pytest.fixture
def footage(workplace: Workplace, shared: Workplace, slow_video: Path) -> list[str]:
    """Four clips, and between them `1slow.avi`."""
    clips = sorted((shared.folder / "clips" / "wave").glob("*.mp4"))[:4]
    (workplace.folder / "footage").mkdir()
    for number, clip in enumerate(clips):
        (workplace.folder / "footage" / f"{number}.mp4").symlink_to(clip)
    (workplace.folder / "footage" / slow_video.name).symlink_to(slow_video)
    return ["0.mp4", "1.mp4", "1slow.avi", "2.mp4", "3.mp4"]


def statuses(output: Path) -> dict[str, str]:
    return {Path(row["path"]).name: row["status"] for row in rows_of(output)}


@pytest.mark.slow
def test_a_file_that_crashes_the_decoder_costs_its_own_row(
    shared: Workplace, workplace: Workplace, footage: list[str], slow_video: Path
) -> None:
    model = str(shared.folder / "runs" / "first")
    predict = ("predict", "footage", "--model", model, "--no-cache", "--output", "rows.csv")
    running = workplace.start(*predict)
    reader = stopped_reader(slow_video, of=running.pid)

    os.kill(reader, signal.SIGSEGV)
    os.kill(reader, signal.SIGCONT)
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)

    assert running.returncode == 3, stderr
    assert "1 crashed" in stderr
    expected = dict.fromkeys(footage, "ok") | {"1slow.avi": "crashed"}
    assert statuses(workplace.folder / "rows.csv") == expected
    [crashed] = [r for r in rows_of(workplace.folder / "rows.csv") if r["status"] == "crashed"]
    # Which signal it was is known only if it came in a call, not between two.
    assert crashed["reason"].startswith("The decoder crashed on this file")
    assert crashed["label"] == crashed["score"] == ""

    workplace.run(*predict, "--retry-failed")

    assert statuses(workplace.folder / "rows.csv") == dict.fromkeys(footage, "ok")


@pytest.mark.slow
def test_an_error_that_a_file_causes_in_the_decoder_costs_its_own_row(
    shared: Workplace, workplace: Workplace
) -> None:
    clip = next((shared.folder / "clips" / "wave").glob("*.mp4"))
    huge = write_video(workplace.folder / "huge.avi", plain_pictures(2, (9000, 9000)), fps=10)
    run = shared.folder / "runs" / "first"

    with load_model(run, cache_dir=shared.cache, remember=False, workers=1) as model:
        assert model.predict(clip).status == "ok"
        limit_memory_of_workers(480 * 2**20)  # two frames of the huge video need 486 MB
        failed, after = model.predict_many([huge, clip])

    assert failed.status == "crashed"
    assert "Failed to allocate" in failed.reason
    assert after.status == "ok"


@pytest.mark.slow
def test_a_file_that_takes_too_long_costs_the_timeout(
    shared: Workplace, workplace: Workplace, footage: list[str], slow_video: Path
) -> None:
    model = str(shared.folder / "runs" / "first")
    predict = ("predict", "footage", "--model", model, "--no-cache", "--output", "rows.jsonl")
    running = workplace.start(*predict, "--timeout", "8", "--json")

    stopped_reader(slow_video, of=running.pid)  # as a decoder that hangs
    stdout, stderr = running.communicate(timeout=PATIENCE_SECONDS)

    assert running.returncode == 3
    rows = [json.loads(line) for line in stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == footage
    assert [row["status"] for row in rows] == ["ok", "ok", "timeout", "ok", "ok"]
    assert "Decoding took longer than 8 s" in stderr


@pytest.mark.slow
@pytest.mark.usefixtures("footage")
def test_ctrl_c_twice_does_not_wait_for_a_decoder(
    shared: Workplace, workplace: Workplace, slow_video: Path
) -> None:
    model = str(shared.folder / "runs" / "first")
    with workplace.start("predict", "footage", "--model", model, "--no-cache") as running:
        reader = stopped_reader(slow_video, of=running.pid)  # as a decoder that hangs

        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        while "Press Ctrl-C again" not in (line := running.stderr.readline()):
            assert line, "it has ended"  # the first one lets the file finish
        running.send_signal(signal.SIGINT)
        stderr = running.stderr.read()

    assert running.returncode == 130
    assert "Traceback" not in stderr
    assert not Path(f"/proc/{reader}").exists()


def test_time_for_a_file_grows_with_it(tmp_path: Path) -> None:
    large = tmp_path / "large.avi"
    with large.open("wb") as file:
        file.truncate(500_000_000)  # takes no disk

    assert Decoders().timeout_for(large) == pytest.approx(2600)
    assert Decoders().timeout_for(tmp_path / "gone.avi") == 600
    assert Decoders(timeout_seconds=5).timeout_for(large) == 5
    with pytest.raises(SettingsError, match="cannot be decoded in 0 s"):
        DecoderPool(Decoders(timeout_seconds=0))
