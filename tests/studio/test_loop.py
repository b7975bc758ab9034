"""Label, train, see, correct, train again: what the page does, by its requests alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from activity_cli.sampledata import draw_dataset
from tests.studio.page import Page, eventually, open_studio
from tests.workplace import Workplace, rows_of

LABELS = ("walk", "wave")
SETTINGS = '[clip]\nframe_size = 64\nframes = 4\nstreams = "both"\n[training]\nepochs = 4\n'
"""Clips of which CNN and decoders make features in a moment."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two actions without labels."""
    root = tmp_path_factory.mktemp("loop") / "gym"
    draw_dataset(root, clips_per_label=6, labels=LABELS)
    (root / "labels.csv").unlink()
    (root / "activity.toml").write_text(SETTINGS)
    # What lies among the videos is never run.
    (root / "torch.py").write_text("raise SystemExit('imported from the folder of the videos')")
    return root


@pytest.fixture(scope="module")
def page(shared: Workplace, folder: Path) -> Iterator[Page]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in Workplace(folder, shared.cache).environment.items():
            patch.setenv(name, value)
        with open_studio(folder) as page:
            yield page


def finished(page: Page, job: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = page.get(f"/api/jobs/{job['id']}")
        return found if found["state"] in ("done", "failed", "cancelled") else None

    ended: dict[str, Any] = eventually(look)
    assert ended["state"] == "done", ended
    return ended


def test_from_unlabelled_videos_to_a_corrected_model(page: Page, folder: Path) -> None:
    [offer] = page.get("/api/project")["suggestions"]
    assert offer == {
        "kind": "folders",
        "text": "2 folders look like labels: walk, wave",
        "labels": ["walk", "wave"],
        "clips": 12,
    }
    assert page.get("/api/readiness")["ready"] is False
    clips = {clip["name"]: clip["id"] for clip in page.get("/api/clips")["clips"]}
    held_back = [name for name in clips if "person03" in name]
    labelled = [name for name in clips if name not in held_back]
    edits = [{"op": "label", "clip": clips[n], "label": n.split("/")[0]} for n in labelled]
    page.edit(*edits, text="label all but two")
    page.edit({"op": "suggested_groups"})
    assert page.get("/api/clips?group=person00")["total"] == 4
    ready = page.get("/api/readiness")
    assert (ready["ready"], ready["items"][-1]["text"]) == (
        True,
        "3 groups keep alike clips together.",
    )

    # Train: two commands, which are those of the command line.
    job = page.post("/api/jobs", 202, kind="train", test_fraction=0.3)
    assert job["commands"] == [
        "activity train . --name gym --json --settings activity.toml --test-fraction 0.3",
        "activity predict . --model runs/gym --output runs/gym/videos.csv "
        "--window-scores runs/gym/windows.csv",
    ]
    ended = finished(page, job)
    assert ended["result"] == {"run": "gym"}
    assert [epoch["epoch"] for epoch in ended["history"]][:3] == [0, 1, 2]
    project = page.get("/api/project")
    assert (project["model"], project["predicted_by"], project["corrections"]) == ("gym", "gym", 0)

    _check_results(page, folder, set(clips.values()))
    _accept_one_and_correct_one(page, *(clips[name] for name in held_back))

    # Train again, and stop: the best model so far is kept, beside the first one.
    again = page.post("/api/jobs", 202, kind="train", epochs=10_000, predict=False)
    waits = page.post("/api/jobs", 202, kind="predict")
    assert waits["state"] == "queued"
    assert page.ask("DELETE", f"/api/jobs/{waits['id']}").json()["state"] == "cancelled"
    eventually(lambda: len(page.get(f"/api/jobs/{again['id']}")["history"]) > 3)
    page.post(f"/api/jobs/{again['id']}/stop")
    assert finished(page, again)["result"] == {"run": "gym-2"}
    assert page.get("/api/runs/gym-2")["ended_by"] == "stopped"
    assert [run["run"] for run in page.get("/api/runs")["runs"]] == ["gym", "gym-2"]
    # Everything can be copied.
    lines = [line["text"] for line in page.get("/api/commands")["commands"]]
    assert lines[0] == job["commands"][0]


def _check_results(page: Page, folder: Path, clips: set[str]) -> None:
    """The results are what metrics.json has, with the clips behind the matrix."""
    metrics = json.loads((folder / "runs" / "gym" / "metrics.json").read_text())
    result = page.get("/api/runs/gym")
    assert result["sentence"] == metrics["conclusion"]["sentence"]
    assert result["matrix"] == metrics["confusion"]
    assert sum(map(len, result["cells"].values())) == metrics["num_clips"]
    known = {clip for cell in result["cells"].values() for clip in (one["clip"] for one in cell)}
    assert known <= clips


def _accept_one_and_correct_one(page: Page, first: str, second: str) -> None:
    """The two videos without labels have suggestions."""
    assert page.get(f"/api/clips/{first}")["state"] == "suggested"
    found = page.get(f"/api/clips/{first}/prediction")
    assert found["curve"]["labels"] == ["walk", "wave"]
    assert sum(found["curve"]["scores"][0]) == pytest.approx(1, abs=1e-4)
    queue = page.get("/api/review?sort=uncertain")
    assert {item["clip"]["id"] for item in queue["items"]} == {first, second}
    assert len(queue["suggested"]) == 2
    page.edit({"op": "accept", "clip": first}, text="accept")
    assert page.get(f"/api/clips/{first}")["segments"][0]["label"] == found["label"]
    other = page.get(f"/api/clips/{second}/prediction")["label"]
    wrong = "walk" if other == "wave" else "wave"
    page.edit({"op": "label", "clip": second, "label": wrong})
    assert page.get(f"/api/clips/{second}")["state"] == "corrected"
    disagrees = page.get("/api/review?sort=disagrees")["items"]
    assert second in [item["clip"]["id"] for item in disagrees]
    assert page.get("/api/project")["corrections"] == 2


def test_downloads_stay_below_runs_and_exports(page: Page) -> None:
    assert page.ask("GET", "/api/files?path=runs/gym/report.html").status == 200
    for path in ("labels.csv", "runs/../labels.csv", "/etc/passwd", "runs/../../secret", ""):
        assert page.ask("GET", f"/api/files?path={path}").status == 404


def test_ground_truth_measures_on_what_no_model_has_seen(page: Page, folder: Path) -> None:
    clips = page.get("/api/clips?q=person03")["clips"]
    page.edit(*({"op": "label", "clip": clip["id"], "label": None} for clip in clips))
    drawn = page.post("/api/truth", count=1, seconds=1)
    clip = drawn["clip"]
    assert clip["prediction"] is None
    assert clip["id"] in [one["id"] for one in clips]
    page.edit({"op": "truth", "stretch": drawn["stretch"], "label": "wave"})
    page.edit({"op": "label", "clip": clip["id"], "label": "walk"})  # it never gets into labels.csv
    for piece in page.get(f"/api/clips/{clip['id']}")["segments"]:
        assert (piece["end"] or 99) <= drawn["start"] or (piece["start"] or 0) >= drawn["end"]
    figure = finished(page, page.post("/api/jobs", 202, kind="truth", run="gym"))["result"]
    assert (figure["clips"], figure["accuracy"]) in [(1, 0.0), (1, 1.0)]
    assert [row["label"] for row in rows_of(folder / "truth.csv")] == ["wave"]


def test_a_failed_job_gives_a_line_and_the_next_step(page: Page, folder: Path) -> None:
    (folder / "activity.toml").write_text("[training]\nepochs = -1\n")
    try:
        job = page.post("/api/jobs", 202, kind="train")
        ended = eventually(
            lambda: (j := page.get(f"/api/jobs/{job['id']}"))["state"] == "failed" and j
        )
    finally:
        (folder / "activity.toml").write_text(SETTINGS)
    assert "epochs" in ended["error"]
    assert ended["hint"]
    page.post("/api/jobs", 400, kind="train", epochs="many")
    page.post("/api/jobs", 404, kind="predict", run="../gym")
    page.post("/api/jobs", 400, kind="rm")


def test_cancel_ends_a_job_at_once(page: Page) -> None:
    job = page.post("/api/jobs", 202, kind="train", epochs=10_000)
    eventually(lambda: page.get(f"/api/jobs/{job['id']}")["state"] == "running")
    page.ask("DELETE", f"/api/jobs/{job['id']}")
    eventually(lambda: page.get(f"/api/jobs/{job['id']}")["state"] == "cancelled")
