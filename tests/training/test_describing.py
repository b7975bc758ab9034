"""`--task describe`: from captions to sentences about clips that were held out."""

import csv
import json
import shutil
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.model.caption_search import Floats, search
from activity_cli.model.folder import load_model
from activity_cli.sampledata.captions import VERBS
from activity_cli.settings import CaptionSettings
from activity_cli.training.describing.detectors import detectable, fit_detectors
from activity_cli.types import frame_roles
from activity_cli.video.clips import read_frames
from tests.workplace import FEW_PIXELS, Workplace, rows_of

DESCRIBE = ("--task", "describe", "--decoder-size", "32", *FEW_PIXELS)


@pytest.fixture(scope="module")
def described(shared: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A workplace with `notes.csv`, short captions of the shared clips, and `runs/notes`."""
    folder = tmp_path_factory.mktemp("describing")
    (folder / "clips").symlink_to(shared.folder / "clips")
    rows = [["path", "caption_1", "caption_2", "group"]]
    for row in rows_of(folder / "clips" / "labels.csv"):
        verb = VERBS[row["label"]]
        both = [f"A person {verb.present}.", f"Somebody is {verb.gerund} here."]
        rows.append([f"clips/{row['path']}", *both, row["group"]])
    with (folder / "notes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    place = Workplace(folder, shared.cache)
    place.run("train", "notes.csv", *DESCRIBE, "--name", "notes", "--epochs", "80")
    return place


@pytest.mark.slow
def test_a_run_names_the_action_and_states_what_baselines_reach(described: Workplace) -> None:
    run = described.folder / "runs" / "notes"
    metrics = json.loads((run / "metrics.json").read_text())
    rows = rows_of(run / "predictions.csv")
    verbs = [VERBS[row["path"].split("/")[1]] for row in rows]
    pairs = zip(verbs, rows, strict=True)
    right = [v.present in row["caption"] or v.gerund in row["caption"] for v, row in pairs]

    assert np.mean(right) >= 0.6
    assert metrics["task"] == "describe"
    assert set(metrics["metrics"]) == {"model", "most frequent", "nearest clip", "without pictures"}
    model, blind = (metrics["metrics"][name]["CIDEr"] for name in ("model", "without pictures"))
    assert model[0] > blind[0]
    assert model[1] <= model[0] <= model[2]
    page = (run / "report.html").read_text()
    assert rows[0]["caption"].split()[-1].strip(".") in page
    assert page.count("<figure") >= 3


@pytest.mark.slow
def test_predict_writes_sentences_as_rows_json_and_subtitles(described: Workplace) -> None:
    clip = "clips/walk/person00_000.mp4"
    model = ("--model", "runs/notes")
    done = described.run("predict", clip, *model)
    shown = done.stdout
    assert "Model notes writes sentences, with a vocabulary of" in done.stderr
    [values] = map(json.loads, described.run("predict", clip, *model, "--json").stdout.splitlines())

    assert values["caption"] in shown
    assert len({values["caption"], values["caption_2"], values["caption_3"]}) == 3
    words, probabilities = zip(*values["words"], strict=True)
    assert len(words) >= 3
    assert all(0 < one <= 1 for one in probabilities)
    described.run("predict", "clips/walk", *model, "--output", "rows.csv", "--top-k", "1")
    rows = rows_of(described.folder / "rows.csv")
    assert list(rows[0])[:5] == ["path", "status", "reason", "caption", "probability"]
    assert [row["caption"] for row in rows if row["path"] == clip] == [values["caption"]]
    described.run("merge", "rows.csv", "--output", "merged.csv")
    assert rows_of(described.folder / "merged.csv") == rows


@pytest.mark.slow
def test_a_long_video_has_a_sentence_per_window_or_per_segment(
    described: Workplace, shared: Workplace
) -> None:
    from activity_cli.sampledata import draw_video

    draw_video(described.folder / "long.mp4", ["walk", "wave", "jump"], seed=5)
    files = ("--segments", "long.srt", "--segments", "long.vtt", "--segments", "long.csv")
    described.run("predict", "long.mp4", "--model", "runs/notes", "--window", "2", *files)

    rows = rows_of(described.folder / "long.csv")
    subtitles = (described.folder / "long.srt").read_text()
    assert 1 <= len(rows) <= 3
    assert all(f"{row['label']}\n" in subtitles for row in rows)
    assert "%" not in subtitles
    assert (described.folder / "long.vtt").read_text().startswith("WEBVTT")
    other = str(shared.folder / "runs" / "first")
    both = ("--segments-from", other, "--window", "2", "--json")
    first = json.loads(described.run("predict", "long.mp4", "--model", other, *both[2:]).stdout)
    found = json.loads(described.run("predict", "long.mp4", "--model", "runs/notes", *both).stdout)
    spans = [[(s["start"], s["end"]) for s in one["segments"]] for one in (first, found)]
    assert spans[0] == spans[1]


@pytest.mark.slow
def test_evaluate_and_crossval_compare_with_captions(described: Workplace) -> None:
    some = described.folder / "some.csv"
    with (described.folder / "notes.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    chosen = rows[1::3]
    with some.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *chosen])
    out = described.run("evaluate", "runs/notes", "some.csv", "--json", "--output", "eval").stdout
    measured = json.loads(out)

    assert measured["num_clips"] == len(chosen)
    assert 0 < measured["metrics"]["model"]["BLEU-1"][0] <= 1
    assert "without pictures" in measured["metrics"]
    assert (described.folder / "eval" / "report.html").is_file()
    out = described.run(
        "crossval", "some.csv", *DESCRIBE, "--folds", "2", "--epochs", "2", "--json"
    ).stdout
    assert set(json.loads(out)["metrics"]) >= {"model", "nearest clip"}


@pytest.mark.slow
def test_a_resumed_run_keeps_its_task_and_refuses_other_captions(described: Workplace) -> None:
    folder = described.folder / "again"
    folder.mkdir()
    (folder / "clips").symlink_to(described.folder / "clips")
    shutil.copy(described.folder / "notes.csv", folder)
    place = Workplace(folder, described.cache)
    place.run("train", "notes.csv", *DESCRIBE, "--epochs", "2")
    place.run("train", "notes.csv", "--resume", "runs/notes", "--epochs", "3")
    history = rows_of(folder / "runs" / "notes" / "history.csv")
    changed = (folder / "notes.csv").read_text().replace("here", "there")
    (folder / "notes.csv").write_text(changed)
    refused = place.run("train", "notes.csv", "--resume", "runs/notes", code=2)

    assert [row["epoch"] for row in history] == ["0", "1", "2", "3"]
    assert "was begun with captions texts" in refused.stderr
    shutil.rmtree(folder)


def test_commands_for_labels_refuse_a_captioner_and_the_reverse(
    described: Workplace, shared: Workplace
) -> None:
    clip = "clips/walk/person00_000.mp4"
    for arguments in (
        ("predict", clip, "--model", "runs/notes", "--labels", "walk"),
        ("predict", clip, "--model", str(shared.folder / "runs/first"), "--beam", "2"),
        ("train", "notes.csv", "--task", "describe", "--views", "2"),
        ("train", "notes.csv", "--task", "describe", "--preview", "x.png"),
    ):
        ended = described.run(*arguments, code=2)
        assert ended.stderr.partition("Error: ")[2].count("\n") == 2, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_the_loop_in_the_readme_of_an_export_writes_the_sentence_of_predict(
    described: Workplace, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = "clips/walk/person00_000.mp4"
    model = ("--model", "runs/notes", "--json", "--beam", "1", "--precision", "fp32")
    expected = json.loads(described.run("predict", clip, *model).stdout)
    out = ("--output", "exported", "--overwrite", "--json")
    shown = described.run("export", "runs/notes", "--verify", clip, "--format", format, *out)

    [parity] = json.loads(shown.stdout)["exports"]
    assert parity["num_same_sentence"] == parity["num_clips"] == 1
    readme = (described.folder / "exported" / format / "README.md").read_text()
    loop = readme.partition("```python\n")[2].partition("```")[0]
    assert len(loop.partition("for _ in")[2].splitlines()) <= 10
    settings = load_model(described.folder / "runs" / "notes").description.clip
    images = read_frames(described.folder / clip, settings).images
    frames = {role: images[role][None] for role in frame_roles(settings)}
    monkeypatch.chdir(described.folder / "exported" / format)
    said: list[str] = []
    exec(loop, {"frames": frames, "print": said.append})
    assert said == [" ".join(word for word, _ in expected["words"])]


@pytest.mark.slow
def test_explain_shows_the_frames_that_each_word_attended_to(described: Workplace) -> None:
    clip = "clips/wave/person01_001.mp4"
    arguments = ("explain", clip, "--model", "runs/notes", "--json", "--output", "why")
    values = json.loads(described.run(*arguments).stdout)

    assert len(values["seconds"]) == 8
    assert values["caption"].lower().startswith(values["words"][0]["word"])
    for row in values["words"]:
        assert sum(row["attention"]) == pytest.approx(1, abs=1e-4)
        assert len(row["attention"]) == 8
    assert (described.folder / "why" / "explanation.png").stat().st_size > 10_000


def test_detectors_find_words_of_held_out_clips() -> None:
    rng = np.random.default_rng(0)
    pooled = rng.normal(size=(60, 2, 30)).astype(np.float32)
    presence = np.stack([pooled[:, 0, 3] > 0, pooled[:, 1, 7] > 0], axis=1).astype(np.float32)
    pooled[:, 0, 3] *= 5
    pooled[:, 1, 7] *= 5

    found = fit_detectors(pooled, presence, np.arange(60) // 3, seed=0)

    assert len(detectable(np.ones((2, 6), np.float32))) == 1  # in all captions, but not none
    evidence = pooled.reshape(60, -1) @ found.weights.T + found.bias
    for word in range(2):
        assert np.corrcoef(found.evidence[:, word], presence[:, word])[0, 1] > 0.6
        assert ((evidence[:, word] > 0) == (presence[:, word] > 0.5)).mean() > 0.8


def test_the_beam_finds_a_better_sentence_than_greed_and_repeats_no_three_words() -> None:
    # After the start, 2 is likely but leads to unlikely words; 3 is less likely, its end is sure.
    table = {0: {2: 0.6, 3: 0.4}, 2: {4: 0.5, 5: 0.5}, 3: {0: 1.0}, 4: {0: 1.0}, 5: {0: 1.0}}

    def chain(
        words: NDArray[np.int64], states: Sequence[Floats]
    ) -> tuple[Floats, Floats, Sequence[Floats]]:
        logs = np.full((len(words), 6), -np.inf, np.float32)
        for row, word in enumerate(words.tolist()):
            for after, chance in table[word].items():
                logs[row, after] = np.log(chance)
        return logs, np.ones((len(words), 1), np.float32), list(states)

    begin = [np.zeros((1, 1), np.float32)]
    plain = CaptionSettings(beam=1, length_penalty=0.0)
    assert search(begin, chain, plain)[0].words[0] == 2
    assert search(begin, chain, CaptionSettings(beam=3, length_penalty=0.0))[0].words == (3,)
    table.update({0: {2: 1.0}, 2: {3: 1.0}, 3: {4: 1.0}, 4: {2: 0.9, 0: 0.1}})
    said = search(begin, chain, CaptionSettings(beam=2, max_words=12))[0].words
    assert said == (2, 3, 4)
