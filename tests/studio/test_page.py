"""The page of the studio in a real browser: label, train, review, correct, export, by keyboard."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.media import Picture, write_video
from tests.processes import PATIENCE_SECONDS
from tests.studio.page import Page, open_studio
from tests.workplace import Workplace, rows_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Route
    from playwright.sync_api import Page as Window

pytestmark = pytest.mark.slow

LABELS = ("across", "upwards")
NASTY = "<img src=x onerror=window.hit=1>"
PLACES = ("videos", "label", "train", "results", "review")
FPS = 10
SETTINGS = '[clip]\nframe_size = 64\nframes = 4\nstreams = "both"\n[training]\nepochs = 4\n'
"""Clips of which CNN and decoders make features in a moment."""
TITLE = "document.querySelector('.label-head h1')"


# Returns texts whose contrast is below WCAG AA: 4.5, or 3 for large text.
LOW_CONTRAST = r"""
() => {
  const c = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    c.clearRect(0, 0, 1, 1); c.fillStyle = text; c.fillRect(0, 0, 1, 1);
    return [...c.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const linear = (v) => v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, under) => under.map((v, i) => (top[i] * top[3] + v * (255 - top[3])) / 255);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e));
    return layers.reduce((under, top) => over(rgba(top.backgroundColor), under), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || !box.width || style.visibility === "hidden") continue;
    if (element.closest("button:disabled, [aria-disabled], noscript, option, .sr, svg")) continue;
    const under = behind(element);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${walker.currentNode.data}: ${ratio.toFixed(2)}`);
  }
  return found;
}
"""


class Watched:
    """A window of the browser that may reach the studio only; `said` should stay empty."""

    def __init__(self, browser: "Browser", studio: Page, **options: Any) -> None:
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.context.set_default_timeout(1000 * PATIENCE_SECONDS)
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


def until(window: "Window", answer: Callable[[], object]) -> None:
    """Wait until something is true; meanwhile the browser's requests go on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
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


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio") / "clips"
    for number in range(10):
        for label in LABELS:
            write_video(folder / f"{number}_{label}.webm", moving(label, number), FPS)
    (folder / "activity.toml").write_text(SETTINGS)
    return folder


@pytest.fixture
def _environment(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Workplace(tmp_path, prepared).environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("_environment")
def test_from_a_folder_of_clips_to_corrections_and_an_export(
    clips: Path, browser: "Browser"
) -> None:
    with open_studio(clips) as studio:
        watched = Watched(browser, studio)
        window = watched.window
        go(window, "label")
        for label in LABELS:
            add_label(window, label)
        for _ in range(16):
            name = window.text_content(".label-head h1") or ""
            window.keyboard.press("1" if LABELS[0] in name else "2")
            window.wait_for_function(f"name => {TITLE}.textContent !== name", arg=name)
        until(window, lambda: len(rows_of(clips / "labels.csv")) == 16)
        for row in rows_of(clips / "labels.csv"):
            assert row["path"].endswith(f"_{row['label']}.webm")
        train(window, studio)
        correct_two(window, clips)
        go(window, "results")
        window.wait_for_selector(".sentence")
        assert "%" in (window.text_content(".sentence") or "")
        window.click("button.matrix-cell")  # opens its clips
        window.wait_for_selector(".cell-dialog .cell-row")
        window.keyboard.press("Escape")
        window.click("text=OpenVINO")
        window.wait_for_selector("text=Verified")
        looks(window)
        watched.check()
        watched.context.close()


def train(window: "Window", studio: Page) -> None:
    """Train, and wait until there is a model and it has predicted."""
    go(window, "train")
    if not window.is_visible("#option-groups"):
        window.click("summary")
    window.select_option("#option-groups", "")  # these clips look alike
    window.wait_for_selector(".start-card .primary:enabled")
    window.keyboard.press("t")

    def is_done() -> bool:
        title = window.inner_text(".run-card h2")
        assert title != "It failed", window.inner_text(".run-card")
        return title == "Done" and len(studio.get("/api/project")["models"]) == 1

    until(window, is_done)


def correct_two(window: "Window", clips: Path) -> None:
    """See predictions of the clips without labels: correct two, accept two."""
    go(window, "review")
    window.wait_for_selector(".review-item .chip.suggested")
    assert window.locator(".review-item").count() == 4
    title = "document.querySelector('.review-what h2')"
    wanted = {}
    for at in range(4):
        name = window.text_content(".review-what h2") or ""
        predicted = window.inner_text(".review-item[aria-current] .chip .clip-text")
        other = LABELS[1 - LABELS.index(predicted)]
        wanted[name] = other if at < 2 else predicted
        window.keyboard.press("Enter" if at >= 2 else str(1 + LABELS.index(other)))
        if at < 3:
            window.wait_for_function(f"name => {title}.textContent !== name", arg=name)
    window.wait_for_selector("text=/Train again: 4 corrections/")

    def labels() -> dict[str, str]:
        return {row["path"]: row["label"] for row in rows_of(clips / "labels.csv")}

    until(window, lambda: len(labels()) == 20)
    assert wanted.items() <= labels().items()


def looks(window: "Window") -> None:
    """Text is readable and nothing is cut off, on all screens, in both themes and two widths."""
    schemes: tuple[Any, ...] = ("light", "dark")
    for width, scheme in [(w, s) for w in (1280, 820) for s in schemes]:
        window.set_viewport_size({"width": width, "height": 800})
        window.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour between
        for place in PLACES:
            go(window, place)
            window.wait_for_selector("#screen > .head, #screen > header")
            window.wait_for_timeout(150)
            assert window.evaluate("document.documentElement.scrollWidth") <= width
            wide = "[...document.querySelectorAll('#screen > *')].map(e => e.scrollWidth)"
            assert max(window.evaluate(wide)) <= width, (place, width)
            assert window.evaluate(LOW_CONTRAST) == [], (place, scheme, width)
    window.keyboard.press("?")
    assert "Undo" in window.inner_text("dialog.sheet")
    window.keyboard.press("Escape")


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
              window.seen = []; window.shown = 0;
              const watch = (_, data) => {
                window.shown = data.mediaTime;
                video.requestVideoFrameCallback(watch);
              };
              video.requestVideoFrameCallback(watch);
              for (const kind of ["keydown", "keyup"]) addEventListener(kind, (event) => {
                if (/[12]/.test(event.key) && !event.repeat) window.seen.push(window.shown);
              }, true);
            }"""
        )
        for _ in range(3):
            window.keyboard.press(".")  # up to 4 times the speed
        window.keyboard.press("Space")
        for key in ("1", "2"):
            play_on(window)
            window.keyboard.down(key)
            play_on(window)
            window.keyboard.up(key)
        window.keyboard.press("k")
        table = folder / "labels.csv"
        until(window, lambda: table.exists() and len(rows_of(table)) == 2)
        seen = window.evaluate("window.seen")
        assert seen[1] - seen[0] > 0.5  # seconds of video: it played

        def painted() -> bool:
            rows = rows_of(table)
            times = [float(row[side]) for row in rows for side in ("start", "end")]
            # A stretch ends with the last frame that was shown: 1 / FPS after that frame began.
            wanted = [seen[0], seen[1] + 1 / FPS, seen[2], seen[3] + 1 / FPS]
            exact = np.abs(np.subtract(times, wanted)).max() <= 1 / FPS + 1e-3
            return labels_of(table) == ["run", "wave"] and bool(exact)

        until(window, painted)
        # One stretch is one step, however often it was sent.
        window.keyboard.press("z")
        until(window, lambda: labels_of(table) == ["run"])
        window.keyboard.press("Shift+Z")
        until(window, lambda: labels_of(table) == ["run", "wave"])
        window.keyboard.press("z")
        until(window, lambda: labels_of(table) == ["run"])
        edges_and_cuts(window, table)
        watched.check()
        watched.context.close()


def play_on(window: "Window") -> None:
    """Wait until two seconds more of the video were shown: longer than a tap of a key takes."""
    shown = window.evaluate("window.shown")
    window.wait_for_function("second => window.shown > second", arg=shown + 2)


def labels_of(table: Path) -> list[str]:
    return [row["label"] for row in rows_of(table)]


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

    def shown(last: str) -> None:
        """Wait until the page has one segment and the answer to the last change."""
        window.wait_for_selector(f'[title="Undo: {last} on long.webm (Z)"]')
        window.wait_for_function("document.querySelectorAll('.segment-row').length === 1")

    [(_, start, end)] = times()
    shown("paint run")
    window.keyboard.press("ArrowDown")  # chooses it: the player stands at its start
    window.keyboard.press("]")
    until(window, is_about(("run", start + 1 / FPS, end)))
    shown("move an edge")
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
        until(first.window, lambda: labels_of(folder / "labels.csv") == [NASTY])
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
