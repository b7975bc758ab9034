"""The page of the studio in a real browser: label, train, review, correct, export, by keyboard."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.media import Picture, write_video
from tests.studio.page import Page, open_studio
from tests.workplace import rows_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Route
    from playwright.sync_api import Page as Window

pytestmark = pytest.mark.slow

LABELS = ("across", "upwards")
NASTY = "<img src=x onerror=window.hit=1>"
PLACES = ("videos", "label", "train", "results", "review")
FPS = 10
TRAINING_MS = 240_000
TITLE = "document.querySelector('.label-head h1')"


class Watched:
    """A window of the browser that may reach the studio only; `said` should stay empty."""

    def __init__(self, browser: "Browser", studio: Page, **options: Any) -> None:
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        own = f"http://{studio.host}/"
        self.context.route(
            lambda url: not url.startswith((own, "data:", "blob:")),
            self._refuse,
        )
        self.window = self.context.new_page()
        self.window.on("console", self._hear)
        self.window.on("pageerror", lambda error: self.said.append(str(error)))
        self.window.goto(f"{own}?token={studio.token}")

    def _refuse(self, route: "Route") -> None:
        self.foreign.append(route.request.url)
        route.abort()

    def _hear(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def check(self) -> None:
        """No error was logged, and nothing outside was asked for."""
        assert self.said == []
        assert self.foreign == []


def until(window: "Window", answer: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; meanwhile the browser's requests go on."""
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline, "it did not happen"
        window.wait_for_timeout(20)


def go(window: "Window", place: str) -> None:
    """Change the screen by its key."""
    window.keyboard.press(f"Alt+{PLACES.index(place) + 1}")
    window.wait_for_selector(f'.place[data-place="{place}"][aria-current="page"]')


def add_label(window: "Window", label: str) -> None:
    window.keyboard.press("a")
    window.keyboard.type(label)
    window.keyboard.press("Enter")
    window.wait_for_function(
        "name => [...document.querySelectorAll('.label-row')].some(r => r.dataset.label === name)",
        arg=label,
    )


def disc(at: tuple[float, float], shade: int) -> Picture:
    """A disc on a grey picture, at shares of its width and height."""
    y, x = np.mgrid[0:72, 0:96]
    picture = np.full((72, 96, 3), shade, np.uint8)
    picture[(x - 96 * at[0]) ** 2 + (y - 72 * at[1]) ** 2 < 110] = (220, 60, 40)
    return picture


def moving(label: str, number: int) -> list[Picture]:
    """12 pictures in which the disc goes across, or upwards."""
    shares = np.linspace(0.15, 0.85, 12)
    aside = 0.3 + 0.04 * number
    places = [(s, aside) if label == LABELS[0] else (aside, 1 - s) for s in shares]
    return [disc(place, 90 + 9 * number) for place in places]


def test_painted_stretches_are_those_that_were_played(tmp_path: Path, browser: "Browser") -> None:
    folder = tmp_path / "videos"
    pictures = [disc((i / 1200, 0.5), 90) for i in range(1200)]
    write_video(folder / "long.webm", pictures, FPS)  # two minutes
    with open_studio(folder) as studio:
        watched = Watched(browser, studio)
        window = watched.window
        go(window, "label")
        window.wait_for_selector(".timeline")
        add_label(window, "run")
        add_label(window, "wave")
        # What the browser shows at each key, independent of the page's own player.
        window.evaluate(
            """() => {
              const video = document.querySelector(".stage video");
              window.seen = []; let shown = 0;
              const watch = (_, data) => {
                shown = data.mediaTime;
                video.requestVideoFrameCallback(watch);
              };
              video.requestVideoFrameCallback(watch);
              for (const kind of ["keydown", "keyup"]) addEventListener(kind, (event) => {
                if (/[12]/.test(event.key) && !event.repeat) window.seen.push(shown);
              }, true);
            }"""
        )
        for _ in range(3):
            window.keyboard.press(".")  # up to 4 times the speed
        window.keyboard.press("Space")
        for key in ("1", "2"):
            window.wait_for_timeout(500)
            window.keyboard.down(key)
            window.wait_for_timeout(1500)
            window.keyboard.up(key)
        window.keyboard.press("k")
        table = folder / "labels.csv"
        until(window, lambda: table.exists() and len(rows_of(table)) == 2)
        seen = window.evaluate("window.seen")
        assert seen[1] - seen[0] > 2  # seconds of video: it played

        def painted() -> bool:
            rows = rows_of(table)
            times = [float(row[side]) for row in rows for side in ("start", "end")]
            # A stretch ends with the last frame that was shown: 1 / FPS after that frame began.
            wanted = [seen[0], seen[1] + 1 / FPS, seen[2], seen[3] + 1 / FPS]
            exact = np.abs(np.subtract(times, wanted)).max() <= 1 / FPS + 1e-3
            return [row["label"] for row in rows] == ["run", "wave"] and bool(exact)

        until(window, painted, 10)
        window.keyboard.press("z")  # one stretch is one step, however often it was sent
        until(window, lambda: [row["label"] for row in rows_of(table)] == ["run"])
        edges_and_cuts(window, table)
        watched.check()
        watched.context.close()


def edges_and_cuts(window: "Window", table: Path) -> None:
    """Edges move by a frame, a segment is cut in two, and deleted."""

    def times() -> list[tuple[str, float, float]]:
        return [(r["label"], float(r["start"]), float(r["end"])) for r in rows_of(table)]

    def is_about(*wanted: tuple[str, float, float]) -> Callable[[], bool]:
        # Times have three decimals.
        return lambda: (
            [t[0] for t in times()] == [w[0] for w in wanted]
            and np.allclose([t[1:] for t in times()], [w[1:] for w in wanted], atol=2e-3)
        )

    [(_, start, end)] = times()
    window.keyboard.press("ArrowDown")  # chooses it: the player stands at its start
    window.keyboard.press("]")
    until(window, is_about(("run", start + 1 / FPS, end)))
    for _ in range(5):
        window.keyboard.press("ArrowRight")
    window.keyboard.press("s")
    window.keyboard.press("2")  # the part after the cut
    cut = start + 5 / FPS
    until(window, is_about(("run", start + 1 / FPS, cut), ("wave", cut, end)))
    window.keyboard.press("Delete")
    until(window, is_about(("run", start + 1 / FPS, cut)))


def test_hostile_names_are_text_and_two_windows_are_one(tmp_path: Path, browser: "Browser") -> None:
    folder = tmp_path / "videos"
    write_video(folder / f"{NASTY}.webm", moving(LABELS[0], 1), FPS)
    write_video(folder / "b.webm", moving(LABELS[1], 2), FPS)
    (folder / "c.webm").write_bytes(b"not a video")
    with open_studio(folder) as studio:
        first = Watched(browser, studio)
        second = Watched(browser, studio, color_scheme="dark")
        for window in (first.window, second.window):
            go(window, "label")
        add_label(first.window, NASTY)
        name = first.window.text_content(".label-head h1")
        first.window.keyboard.press("1")
        until(first.window, (folder / "labels.csv").exists)
        until(first.window, lambda: [r["label"] for r in rows_of(folder / "labels.csv")] == [NASTY])
        second.window.wait_for_selector(f'.label-row[data-label="{NASTY}"][aria-pressed="true"]')
        assert second.window.text_content(".label-head h1") == name
        second.window.keyboard.press("z")  # takes back what the other window did
        first.window.wait_for_selector('.place[data-place="label"] .number:text("0 / 3")')
        until(first.window, lambda: rows_of(folder / "labels.csv") == [])
        go(first.window, "videos")
        first.window.wait_for_selector(f"text={NASTY}.webm")
        first.window.wait_for_selector(".cell .state.damaged")
        first.window.keyboard.press("g")
        first.window.keyboard.type(NASTY)
        first.window.keyboard.press("Enter")
        first.window.wait_for_selector(f"text=/Group {re.escape(NASTY)}/")
        for watched in (first, second):
            assert watched.window.evaluate("window.hit") is None
            assert watched.window.query_selector("img[src=x]") is None
            watched.check()
        last = first.window
    last.wait_for_selector("text=Studio has ended. Everything is saved.")
    first.context.close()
    second.context.close()
