"""Live video: what is said is about now, whatever happens to the machine and to the camera."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.api import load_model as load_for_use
from activity_cli.errors import ActivityError, SettingsError
from activity_cli.model.folder import load_model
from activity_cli.predict.file_results import Scan
from activity_cli.predict.live.events import (
    ActionEvent,
    Connected,
    EventFinder,
    EventHook,
    Late,
    Lost,
    Message,
    Scored,
    Tick,
    split_command,
)
from activity_cli.predict.live.settings import EventSettings, SourceSettings, WatchSettings
from activity_cli.predict.live.source import LiveFrame, parse_source
from activity_cli.predict.live.timesteps import (
    TimestepSampler,
    WindowBuffer,
    stack_timesteps,
    thin_out,
)
from activity_cli.predict.live.watching import LiveModel, Watch, backoff_seconds
from activity_cli.settings import CNN_STREAMS, DEFAULT_MODEL, ClipSettings
from activity_cli.types import Timesteps
from activity_cli.video.clips import to_square
from activity_cli.video.reader import VideoReader
from activity_cli.video.resampling import Resampler
from activity_cli.video.sampling import Windows
from tests.media import DrawClip, drifting_pictures, noise_pictures
from tests.mjpeg_server import Camera
from tests.processes import PATIENCE_SECONDS
from tests.workplace import Workplace

WINDOWS = Windows(num_frames=8, step_seconds=0.1, stride_steps=2, max_clip_seconds=1)


def eye(look: Callable[[], None] = lambda: None) -> LiveModel:
    """A model that needs no CNN: `fight` is how bright the window's darkest point is, `noFight`
    how bright its brightest.
    """

    def see(points: Timesteps) -> NDArray[np.float64]:
        look()
        means = [image.mean() / 255 for image in points.images["rgb"]]
        return np.array([means])  # (1, N)

    def score(windows: NDArray[np.float64]) -> NDArray[np.float32]:  # (B, 1, T)
        return np.stack([windows.min(axis=(1, 2)), windows.max(axis=(1, 2))], 1).astype(np.float32)

    description = load_model(DEFAULT_MODEL).description
    scan = Scan(
        see=see,
        score=score,
        as_streams=True,
        see_stage="cnn",
        score_stage="lstm",
    )
    return LiveModel(description=description, scan=scan)


def watch_all(
    source: str, model: LiveModel, settings: WatchSettings
) -> Generator[tuple[Watch, Message]]:
    watch = Watch(parse_source(source), model, settings)
    for message in watch.run():
        if not isinstance(message, Tick):
            yield watch, message


# --- Points and windows ------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "step"), [(12, 0.25), (30, 0.0625), (5, 0.07)])
def test_live_points_are_those_of_a_file(draw_clip: DrawClip, fps: float, step: float) -> None:
    path = draw_clip("clip.mp4", pictures=drifting_pictures(60), fps=fps)
    settings = ClipSettings(num_frames=8, frame_size=32, streams=CNN_STREAMS)
    of_file = Resampler(path, settings, step_seconds=step, as_streams=False).read(10_000)

    sampler = TimestepSampler(settings, step, max_per_frame=100)
    points = []
    with VideoReader(path) as reader:
        while (seconds := reader.grab()) is not None:
            image = to_square(reader.retrieve_bgr(), settings)
            points += sampler.add(LiveFrame(seconds, 0.0, image))
            assert len(sampler._frames) < 16
    points += sampler.end(1 / fps)

    assert [point.index for point in points] == list(range(of_file.num_timesteps))
    for role, images in stack_timesteps(points, settings).items():
        np.testing.assert_array_equal(images, of_file.images[role])


def test_after_a_pause_only_points_that_matter_are_made() -> None:
    sampler = TimestepSampler(ClipSettings(), 0.1, max_per_frame=16)
    image = np.zeros((4, 4, 3), np.uint8)
    for seconds in (0.0, 0.04, 0.08):
        sampler.add(LiveFrame(seconds, 0.0, image))

    points = sampler.add(LiveFrame(1000.01, 0.0, image))

    assert [point.index for point in points] == list(range(10000 - 16, 10000))
    assert {point.frame.seconds for point in points} == {0.08}


def test_a_dropped_point_is_stood_for_by_the_one_before_it() -> None:
    buffer = WindowBuffer(WINDOWS)

    buffer.add([0, 1, 4, 5], np.array([[0, 1, 4, 5]]))
    assert buffer.take_window() is None  # 8 points of time have not passed
    buffer.add([8], np.array([[8]]))
    window = buffer.take_window()

    assert window is not None
    assert window.values.tolist() == [[1, 1, 1, 4, 5, 5, 5, 8]]
    assert window.num_missing == 4
    buffer.add([9], np.array([[9]]))
    assert buffer.take_window() is None  # a stride is 2
    assert buffer.timesteps_to_go == 1
    buffer.add([10], np.array([[10]]))
    window = buffer.take_window()
    assert window is not None
    assert window.values.tolist() == [[1, 4, 5, 5, 5, 8, 9, 10]]


def test_what_is_too_much_is_thinned_out_evenly_and_the_newest_stays() -> None:
    points: Sequence[Any] = range(16)

    for count, left in ((4, [3, 7, 11, 15]), (1, [15]), (99, list(points))):
        assert [str(point) for point in thin_out(points, count)] == [str(i) for i in left]


# --- Events ------------------------------------------------------------------------------------


def events_of(settings: EventSettings, scores: list[float]) -> list[tuple[str, float, float]]:
    """What `fight` scores once a second bring; None in their place is a gap."""
    finder = EventFinder(settings)
    events: list[ActionEvent] = []
    for second, score in enumerate(scores):
        if np.isnan(score):
            finder.gap()
        else:
            events += finder.update(second, {"fight": score, "noFight": 1 - score})
    return [(e.kind, e.since_seconds, e.seconds) for e in events if e.label == "fight"]


GAP = float("nan")


@pytest.mark.parametrize(
    ("scores", "events"),
    [
        ([0.9, 0.9], []),  # not long enough
        ([0.1, 0.9, 0.9, 0.9], [("start", 1, 3)]),
        ([0.9, 0.9, 0.7, 0.9, 0.9], []),  # interrupted
        ([0.9, 0.9, GAP, 0.9, 0.9], []),  # nobody saw what was in between
        ([0.9] * 3 + [0.7, 0.9] * 9, [("start", 0, 2)]),  # trembles around the limit
        ([0.9] * 3 + [0.7] * 9, [("start", 0, 2)]),  # between high and low nothing changes
        ([0.9] * 3 + [0.1, 0.9] * 9, [("start", 0, 2)]),  # low for too short a time
        ([0.9] * 3 + [GAP] * 9 + [0.9] * 3, [("start", 0, 2)]),  # a gap ends nothing
        ([0.9] * 3 + [0.1] * 9, [("start", 0, 2), ("end", 0, 2)]),
        ([0.9] * 3 + [0.1] * 3 + [0.9] * 3, [("start", 0, 2), ("end", 0, 2)]),  # cools down
        (
            [0.9] * 3 + [0.1] * 3 + [0.9] * 6,
            [("start", 0, 2), ("end", 0, 2), ("start", 7, 9)],
        ),
    ],
)
def test_an_alert_starts_once_per_occurrence(
    scores: list[float], events: list[tuple[str, float, float]]
) -> None:
    settings = EventSettings(alert=("fight",), min_seconds=2, cool_down=5)

    assert events_of(settings, scores) == events


def test_without_alerts_a_change_of_label_that_lasts_is_an_event() -> None:
    scores = [0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]

    assert events_of(EventSettings(min_seconds=1), scores) == [("start", 0, 1), ("end", 0, 4)]


def test_the_hook_gets_the_event_whatever_fails(tmp_path: Path) -> None:
    notes: list[str] = []
    event = {"label": "a; touch evil", "score": 0.9, "time": "now"}
    script = tmp_path / "hook.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).write_text(os.environ['ACTIVITY_LABEL'] + sys.stdin.read())\n"
        "sys.exit(3)\n"
    )
    command = f"python3 {script} {tmp_path / 'told'}"
    with EventHook(split_command(command), notes.append) as hook:
        hook.start(event)

    assert notes == ["--run: python3 ended with exit code 3."]
    label, event_text = (tmp_path / "told").read_text().split("{", 1)
    assert label == event["label"]
    assert json.loads("{" + event_text) == event
    with pytest.raises(SettingsError, match="no program nothing-like-it"):
        split_command("nothing-like-it --now")


# --- Sources -----------------------------------------------------------------------------------


def test_passwords_are_not_said() -> None:
    source = parse_source("rtsp://user:secret@host:554/stream?x=1")

    assert source.name == "rtsp://user:***@host:554/stream?x=1"
    assert source.address == "rtsp://user:secret@host:554/stream?x=1"


@pytest.mark.parametrize("text", ["", "foo://host", "99", "/dev/video99", "nothing.mkv", "."])
def test_what_cannot_be_watched_is_refused_at_once(text: str) -> None:
    with pytest.raises(ActivityError):
        parse_source(text).check_exists()


@pytest.mark.slow
def test_a_text_file_is_refused_and_an_absent_camera_tried_again(tmp_path: Path) -> None:
    text = tmp_path / "notes.mkv"
    text.write_text("Nothing to see.")
    with pytest.raises(ActivityError, match="It is a text file"):
        list(watch_all(str(text), eye(), WatchSettings(windows=WINDOWS)))

    settings = WatchSettings(windows=WINDOWS, source=SourceSettings(max_reconnects=1))
    watching = watch_all("http://127.0.0.1:9/", eye(), settings)
    assert isinstance(next(watching)[1], Lost)
    with pytest.raises(ActivityError, match="given up after 2 attempts"):
        next(watching)


def test_attempts_become_rarer_and_are_never_in_step() -> None:
    waits = [[backoff_seconds(failures) for _ in range(50)] for failures in range(1, 12)]

    assert all(1 <= wait <= 30 for row in waits for wait in row)
    assert all(len(set(row)) == 50 for row in waits)
    assert np.all(np.diff([np.mean(row) for row in waits][:5]) > 0)


# --- A camera that is lost, and one that is too fast -------------------------------------------


@pytest.mark.slow
def test_windows_do_not_reach_across_a_gap(draw_clip: DrawClip) -> None:
    dark = draw_clip("dark.avi", pictures=[np.full((48, 64, 3), 20, np.uint8)] * 20)
    bright = draw_clip("bright.avi", pictures=[np.full((48, 64, 3), 220, np.uint8)] * 20)
    said: list[Message] = []
    phase = "dark"
    settings = WatchSettings(
        windows=WINDOWS,
        source=SourceSettings(for_seconds=PATIENCE_SECONDS, read_timeout=60),
        max_delay_seconds=60,
        smooth_seconds=1,
    )
    with Camera([dark]) as camera, closing(watch_all(camera.address, eye(), settings)) as watching:
        for _, message in watching:
            said.append(message)
            scored = sum(isinstance(message, Scored) for message in said)
            lost = sum(isinstance(message, Lost) for message in said)
            if phase == "dark" and scored == 3:
                phase = "gone"
                camera.kill()
            elif phase == "gone" and lost == 1:
                phase = "bright"
                camera.replace([bright])
            elif phase == "bright" and scored >= 6 and brightness(said[-1]) > 0.5:
                phase = "crash"
                scored_before = scored
                end_decoder(signal.SIGSEGV)
            elif phase == "crash" and lost >= 2 and scored >= scored_before + 2:
                break

    assert phase == "crash"
    for message in said:
        if isinstance(message, Scored):  # darkest and brightest point of each window
            scores = 255 * message.prediction.scores
            assert np.abs(scores - 20).max() < 5 or np.abs(scores - 220).max() < 5
    reasons = [message.error.message for message in said if isinstance(message, Lost)]
    assert reasons[0] == "It ended."
    assert any(reason.startswith("The decoder crashed on this source") for reason in reasons)
    assert sum(isinstance(message, Connected) for message in said) == 3


def brightness(message: Message) -> float:
    return float(message.prediction.scores.mean()) if isinstance(message, Scored) else 0.0


def end_decoder(number: int) -> None:
    """Let the decoder of this process die as if it had crashed by itself."""
    process_id = os.getpid()
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    for child in children:
        if b"activity_cli.predict.live.reader" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), number)


@pytest.mark.slow
def test_scores_that_come_too_late_are_reported_as_late(draw_clip: DrawClip) -> None:
    clip = draw_clip(frames=20)
    settings = WatchSettings(
        windows=WINDOWS,
        source=SourceSettings(for_seconds=PATIENCE_SECONDS),
        max_delay_seconds=0.2,
    )
    slow = eye(look=lambda: time.sleep(0.4))
    with Camera([clip]) as camera, closing(watch_all(camera.address, slow, settings)) as watching:
        seen = [message for _, message in until_late(watching)]

    assert not any(isinstance(message, Scored) for message in seen)
    assert isinstance(seen[-1], Late)
    assert seen[-1].num_late == 1


def until_late(
    watching: Generator[tuple[Watch, Message]],
) -> Generator[tuple[Watch, Message]]:
    """The messages of a watch up to the first late score."""
    for watch, message in watching:
        yield watch, message
        if isinstance(message, Late):
            return


@pytest.mark.slow
def test_a_recording_over_http_is_watched_at_its_own_pace(draw_clip: DrawClip) -> None:
    path = draw_clip("recording.mp4", pictures=noise_pictures(40), fps=20)  # 2 s
    content = path.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = list(
        watch_all(
            f"http://127.0.0.1:{server.server_port}/recording.mp4",
            eye(),
            WatchSettings(
                windows=WINDOWS,
                source=SourceSettings(for_seconds=PATIENCE_SECONDS),
                max_delay_seconds=60,
            ),
        )
    )
    server.shutdown()
    server.server_close()

    watch = said[-1][0]
    assert not any(isinstance(message, Lost) for _, message in said)  # its end is its end
    times = [message.at.seconds for _, message in said if isinstance(message, Scored)]
    assert 1 <= len(times) <= 7  # of (2 - 0.8) s / 0.2 s + 1; fewer on a slow machine
    assert watch.summary.watched_seconds > 1.5


# --- The command -------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, prepared: Path) -> Workplace:
    """An empty folder, and the shipped model's prepared CNN."""
    return Workplace(tmp_path, prepared)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_file_is_watched_as_it_grows_and_scored_as_predict_does(
    place: Workplace, draw_clip: DrawClip
) -> None:
    whole = draw_clip("whole.mkv", pictures=drifting_pictures(120), fps=24)
    content = whole.read_bytes()
    growing = place.folder / "growing [1].mkv"
    growing.write_bytes(content[: 3 * len(content) // 4])
    process = place.start(
        *("watch", growing.name, "--model", DEFAULT_MODEL, "--smooth", "0", "--until-idle", "12")
    )
    assert process.stdout
    first = [process.stdout.readline() for _ in range(2)]  # it does not wait for the rest
    with growing.open("ab") as file:
        file.write(content[3 * len(content) // 4 :])
    rest, stderr = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0, stderr
    windows = [line for line in lines_of("".join(first) + rest) if "event" not in line]
    with load_for_use(DEFAULT_MODEL, cache_dir=place.cache) as predictor:
        timeline = predictor.predict(whole).timeline
    assert timeline is not None
    assert len(timeline.scores) > 3
    assert len(windows) in (len(timeline.scores), len(timeline.scores) - 1)  # less the rest's
    for line, scores, start in zip(windows, timeline.scores, timeline.starts_seconds, strict=False):
        np.testing.assert_allclose(list(line["scores"].values()), scores, atol=2e-3)
        assert start < line["seconds"] < start + timeline.window_seconds
        assert line["dropped"] == 0


@pytest.mark.slow
def test_a_slow_machine_drops_frames_instead_of_queueing_them(
    place: Workplace, draw_clip: DrawClip
) -> None:
    ran = place.folder / "ran.txt"
    note = place.folder / "note.py"
    note.write_text(
        f"import os; open({str(ran)!r}, 'a').write(os.environ['ACTIVITY_TIME'] + '\\n')"
    )
    clip = draw_clip(pictures=drifting_pictures(40))
    with Camera([clip]) as camera:
        process = place.start(
            *("watch", camera.address, "--model", DEFAULT_MODEL),
            *("--max-delay", "60", "--min-seconds", "0.5", "--reject", "off"),
            *("--run", f"python3 {note}"),
        )
        assert process.stdout
        lines = [json.loads(process.stdout.readline()) for _ in range(6)]
        # It runs for a small part of the time, in which no machine processes all that came
        # meanwhile. With a queue the delay would be that of all stops together.
        stops, seconds = 5, 2.0
        for _ in range(stops):
            process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        while "event" in (line := json.loads(process.stdout.readline())):
            lines.append(line)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()  # communicate() would lose what readline() has read ahead
        assert process.stderr
        stderr = process.stderr.read()
        process.communicate(timeout=PATIENCE_SECONDS)  # closes both

    assert process.returncode == 0, stderr
    lines += [line, *lines_of(rest)]
    windows = [line for line in lines if "event" not in line]
    assert windows[-1]["delay_seconds"] < stops * seconds / 2
    assert sum(line["dropped"] for line in windows) > 0
    starts = [line["time"] for line in lines if line.get("event") == "start"]
    assert starts
    assert ran.read_text().splitlines() == starts
    summary = lines[-1]
    assert summary["event"] == "stopped"
    assert summary["events"] == len(starts)
    assert summary["windows"] == len(windows)
    assert "Watched 0:" in stderr


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_the_watch(place: Workplace, draw_clip: DrawClip) -> None:
    with Camera([draw_clip(frames=20)]) as camera:
        process = place.start("watch", camera.address, "--model", DEFAULT_MODEL, "--quiet")
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["event"] == "connected"
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        assert process.stderr.read() == ""
        process.stderr.close()
