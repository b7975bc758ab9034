"""report.html in a real browser, and the predictions that it is made of."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from activity_cli.data.dataset import Sample
from activity_cli.data.splits import make_folds
from activity_cli.evaluation import ClipPrediction, Predictions, SplitInfo
from activity_cli.evaluation.baselines import BaselineScores
from activity_cli.evaluation.conclusion import Conclusion
from activity_cli.evaluation.quality_checks import compute_findings
from activity_cli.features.backbones import find_backbone
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.labelled import DataConfig
from activity_cli.model.folder import load_model
from activity_cli.model.metrics import evaluate_scores
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.report.assembly import ReportData, crossval_report
from activity_cli.report.html import Strip, render_report, write_report
from activity_cli.settings import TrainSettings
from activity_cli.training.crossval import CrossvalRun, run_crossval
from activity_cli.training.head import HeadConfig
from activity_cli.types import Status
from tests.processes import PATIENCE_SECONDS
from tests.workplace import LABELS, QUICK, Workplace, rows_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NASTY_LABEL = "<script>window.hit=1</script>"
NASTY_NAME = 'a&b "<img src=x onerror=window.hit=2>" $title.mp4'
PHONE, DESK = 360, 1200


def test_all_text_is_escaped() -> None:
    nasty = 'a"b<c>&\x1b[2J\u202e\udcff'
    labels, scores = (nasty, "b"), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    clips = tuple(
        ClipPrediction(
            sample=Sample(path=Path(nasty), name=nasty, label=label),
            status=Status.OK,
            reason="",
            duration_seconds=1,
            label=nasty,
        )
        for label in labels
    )
    targets = np.array([0, 1])
    predictions = Predictions(
        clips=clips,
        scores=scores,
        targets=targets,
        left_out=(),
        evaluation=evaluate_scores(scores, targets, labels),
    )
    baselines = BaselineScores(majority=targets, has_lstm=True)
    data = ReportData(
        title=nasty,
        subtitle="",
        method="",
        predictions=predictions,
        findings=compute_findings(predictions, baselines, SplitInfo()),
        metadata={},
        speed={},
        settings={"table": {nasty: nasty}},
        command=nasty,
        conclusion=Conclusion(problem=nasty, sentence=nasty, next_command=nasty),
    )

    page = render_report(data, [1], [0], {0: Strip(), 1: Strip(problem=nasty)})

    assert "<c>" not in page
    assert "a&#34;b&lt;c&gt;&amp;" in page
    assert "<code>activity crossval</code>" in page
    assert not set(page) & {"\x1b", "\u202e", "\udcff"}


@pytest.fixture(scope="module")
def crossval(shared: Workplace, tmp_path_factory: pytest.TempPathFactory) -> CrossvalRun:
    """With a label and a file name that would run in a careless page."""
    folder = tmp_path_factory.mktemp("report")
    source = shared.folder / "clips"
    rows: list[tuple[str, str, str]] = []
    for row in rows_of(source / "labels.csv"):
        name = row["path"].replace("/", "-")
        label = NASTY_LABEL if row["label"] == "walk" else row["label"]
        name = NASTY_NAME if name.startswith("wave") and not rows else name
        shutil.copy(source / row["path"], folder / name)
        rows.append((name, label, row["group"]))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    backbone = find_backbone("efficientnet_lite0")
    clip = load_model(shared.folder / "runs" / "first").description.clip  # its features are there
    return run_crossval(
        folder,
        DataConfig(backbone=backbone, clip=clip, cache_dir=shared.cache),
        deal=lambda dataset: make_folds(dataset, num_folds=2),
        head=HeadConfig(training=TrainSettings(epochs=2)),
    )


@pytest.fixture(scope="module")
def report(crossval: CrossvalRun) -> Path:
    """Of the cross-validation, after some of its clips are gone."""
    folder = crossval.data.dataset.root
    content = crossval_report(
        crossval, command="activity crossval '<b>'", settings={"folds": {"x": 1}}
    )
    for sample in crossval.data.dataset.samples[::3]:
        sample.path.unlink()
    write_report(content, folder / "report.html")
    return folder / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_the_report_opens_from_disk_in_both_themes_at_any_width(
    report: Path, browser: "Browser", width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    page.goto(report.as_uri())

    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    assert (sum(map(int, re.findall(r"\d+", before)[:3])) > 380) == (scheme == "light")
    page.click("#theme")
    after = page.evaluate(background)
    assert (sum(map(int, re.findall(r"\d+", after)[:3])) > 380) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].map(i => i.complete && i.naturalWidth > 0)"
    loaded = page.evaluate(pictures)
    assert len(loaded) >= 24
    assert all(loaded)
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("window.hit") is None
    page.close()


@pytest.mark.slow
def test_the_report_shows_metrics_baselines_and_checks(report: Path, browser: "Browser") -> None:
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.goto(report.as_uri())
    text = page.inner_text("body")
    page.close()

    assert report.stat().st_size < 5e6
    for told in (
        *(NASTY_LABEL, "activity crossval '<b>'", "Cannot be decoded any more"),
        *("Precision", "95% CI", "Calibration error", "Top-2 accuracy"),
        *("Majority", "Single frame", "Mean pooling", "Shuffled frames", "Reversed frames"),
        *("Leakage", "Duplicate files", "Enough clips", "Most confident errors", "Least certain"),
        *("Versions", "6 groups", "LSTM"),
    ):
        assert told in text, told


def test_evaluate_and_train_write_one_too(shared: Workplace, workplace: Workplace) -> None:
    model, clips = str(shared.folder / "runs" / "first"), str(shared.folder / "clips")

    done = workplace.run("evaluate", model, clips, "--output", "measured")

    page = (workplace.folder / "measured" / "report.html").read_text(encoding="utf-8")
    assert "activity evaluate" in page
    assert "Single frame: needs training" in page
    assert "Does the LSTM help?" in done.stdout
    assert "measured/report.html" in done.stdout
    trained = (shared.folder / "runs" / "first" / "report.html").read_text(encoding="utf-8")
    assert "Training run, measured on" in trained


def test_predictions_of_a_run_are_those_of_a_later_predict(shared: Workplace) -> None:
    run = shared.folder / "runs" / "first"
    stored = rows_of(run / "predictions.csv")
    requests = [ClipRequest(path=shared.folder / "clips" / row["path"]) for row in stored]
    predictor = load_predictor(run, PredictConfig(cache_dir=shared.cache))

    results = list(predictor.predict(requests))
    predictor.close()

    assert len(stored) >= 2
    for row, result in zip(stored, results, strict=True):
        assert result.prediction is not None
        kept = [float(row[f"score_{label}"]) for label in sorted(LABELS)]
        assert result.prediction.label == row["label"]
        # The engine chooses its precision; bf16 moves scores by up to 0.02.
        exact = predictor.provenance["engine"] == "openvino-fp32"
        tolerance = 1e-5 if exact else 0.02
        assert result.prediction.scores.tolist() == pytest.approx(kept, abs=tolerance)


@pytest.mark.slow
def test_without_test_clips_few_are_measured_by_inner_folds(shared: Workplace) -> None:
    done = shared.run(
        "train", "clips", "--name", "all_learned", "--test-fraction", "0", "--json", *QUICK
    )

    said, run = json.loads(done.stdout), shared.folder / "runs" / "all_learned"
    assert said["measured_on"] == "inner-fold"
    assert len(rows_of(run / "predictions.csv")) == 36
    assert {row["split"] for row in rows_of(run / "split.csv")} == {"train"}
    card = " ".join((run / "model" / "README.md").read_text(encoding="utf-8").split())
    assert "36 training clips, best epoch chosen by cross-validation on these; 0 test clips" in card
    assert "each scored by a network trained on the other inner folds" in card
