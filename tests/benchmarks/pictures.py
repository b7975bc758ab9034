"""Make the pictures of README and docs from what the program really writes.

    make demo && .venv/bin/python -m tests.benchmarks.pictures

Reads what `make demo` left in demo/, runs a few commands on it, and writes docs/images/. The report
and the studio need chromium. The pictures show drawn clips and invented data only. benchmark.png is
made by `activity benchmark`.
"""

import csv
import io
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from PIL import Image
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
PICTURES = ROOT / "docs" / "images"
COLUMNS = 92
ON_SCREEN = (
    "activity predict demo/video.mp4 --model demo/runs/actions",
    "activity predict demo/new --model demo/runs/actions",
)
OVERLAY_SECONDS = (3.0, 6.5)  # from one action into the next
OVERLAY_FPS = 8
GANTT_ACTIONS = ("groom", "rear", "walk")  # of which one happens at a time; sniff goes with any
STUDIO_SEGMENTS = ((4, "2"), (3, "3"), (2, "1"))  # lengths in seconds, and keys of labels


def main() -> None:
    """Write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    frames = list(overlay_frames(DEMO / "overlay.mp4"))
    frames[0].save(
        PICTURES / "overlay.webp",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // OVERLAY_FPS,
        loop=0,
        quality=60,
        method=6,
    )
    save_small(DEMO / "storyboard.png", "storyboard.webp")
    clip = next((DEMO / "new" / "wave").iterdir())
    why = ("--output", "demo/why", "--overwrite", "--quiet")
    run("explain", str(clip), "--model", "demo/runs/actions", *why)
    save_small(DEMO / "why" / "explanation.png", "explanation.webp")
    draw_gantt()
    draw_screen()
    draw_report()
    draw_studio()


def overlay_frames(video: Path) -> Iterator[Image.Image]:
    """Yield some frames of the video with labels."""
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS)
    start, end = OVERLAY_SECONDS
    wanted = {round((start + i / OVERLAY_FPS) * fps) for i in range(int((end - start) * 8))}
    for number in range(round(end * fps)):
        _, frame = capture.read()
        if number in wanted:
            yield Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def save_small(source: Path, name: str, width: int = 1400) -> None:
    """Save a picture at a width that suits a page."""
    picture = Image.open(source).convert("RGB")
    height = round(picture.height * width / picture.width)
    picture.resize((width, height), Image.Resampling.LANCZOS).save(PICTURES / name, quality=80)


def environment() -> dict[str, str]:
    """Return the environment of a command: the demo's cache, colours, a width that suits a page."""
    own = {"ACTIVITY_CACHE_DIR": "demo/cache", "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    return {**os.environ, **own}


def run(*arguments: str) -> str:
    """Run a command in the root and return what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "activity_cli", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout


def draw_gantt() -> None:
    """Save the picture that `activity ethogram` makes of invented bouts in eight videos."""
    draw = random.Random(5)
    rows: list[tuple[str, str, float, float]] = []
    for number in range(8):
        name, seconds = f"cage{number + 1}.mp4", draw.uniform(265, 290)
        rows.append((name, "", 0, seconds))  # all of it was looked at
        end, sniffed, action = 0.0, 0.0, ""
        while (start := end + draw.choice([0, draw.uniform(1, 12)])) < seconds - 14:
            end = start + draw.uniform(2, 14)
            action = draw.choice([other for other in GANTT_ACTIONS if other != action])
            rows.append((name, action, start, end))
            if draw.random() < 0.3 and (begins := draw.uniform(start, end)) > sniffed:
                sniffed = min(begins + draw.uniform(2, 9), seconds)
                rows.append((name, "sniff", begins, sniffed))
    table = DEMO / "cages.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "start", "end"])
        writer.writerows((name, label, f"{a:.2f}", f"{b:.2f}") for name, label, a, b in rows)
    run("ethogram", str(table), "--output", "demo/ethogram", "--overwrite", "--quiet")
    shutil.copy(DEMO / "ethogram" / "gantt.png", PICTURES)


def draw_screen() -> None:
    """Draw the terminal with two commands and their results."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in ON_SCREEN:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(run(*command.split()[1:]).rstrip()))
        console.print()
    svg = console.export_svg(title="activity")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts from the network
    (PICTURES / "terminal.svg").write_text(svg, encoding="utf-8")


def draw_report() -> None:
    """Photograph the top of the report."""
    picture = DEMO / "report.png"
    page = (DEMO / "runs" / "actions" / "report.html").as_uri()
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1000")
    subprocess.run(["chromium", *options, f"--screenshot={picture}", page], check=True)
    save_small(picture, "report.webp", width=1100)


def draw_studio() -> None:
    """Photograph the screens of the studio: what it shows of the demo's clips."""
    from playwright.sync_api import sync_playwright

    folder = DEMO / "studio"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEMO / "clips", folder, ignore=shutil.ignore_patterns("labels.csv"))
    command = [sys.executable, "-m", "activity_cli", "studio", str(folder), "--no-browser"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as studio:
        assert studio.stdout is not None
        address = studio.stdout.readline().strip()
        try:
            with sync_playwright() as started:
                browser = started.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(address)
                use_studio(page)
                browser.close()
        finally:
            studio.terminate()


def use_studio(page: "Page") -> None:
    """Label, train and review, and save a picture of each screen."""

    def photograph(name: str) -> None:
        page.wait_for_timeout(4000)  # pictures are loaded, messages are gone
        picture = DEMO / f"{name}.png"
        page.screenshot(path=picture)
        save_small(picture, f"{name}.webp", width=1280)

    page.click("text=Use as labels")
    page.click("text=Make them groups")
    with page.expect_file_chooser() as chosen:
        page.click("text=Add")
    chosen.value.set_files(DEMO / "video.mp4")
    page.wait_for_selector("text=1 video added.")
    photograph("studio-videos")
    page.keyboard.press("Alt+3")
    page.wait_for_selector(".start-card .primary:enabled")
    page.keyboard.press("t")
    page.wait_for_selector(".run-head :text('Done')", timeout=900_000)
    photograph("studio-train")
    page.keyboard.press("Alt+5")
    photograph("studio-review")
    page.keyboard.press("e")  # the video that is most worth labelling, in Label
    page.wait_for_selector(".label-head")
    page.wait_for_timeout(1500)
    page.keyboard.press("Home")
    for seconds, key in STUDIO_SEGMENTS:
        page.keyboard.press("i")
        for _ in range(seconds):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("o")
        page.keyboard.press(key)
        page.wait_for_timeout(300)
    photograph("studio-label")
    page.keyboard.press("Alt+4")
    photograph("studio-results")


if __name__ == "__main__":
    main()
