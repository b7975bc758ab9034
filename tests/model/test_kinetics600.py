"""600 actions out of the box: the model kinetics600, and which model is used without --model."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from activity_cli import load_model
from activity_cli.errors import BackboneError
from activity_cli.features.action_weights import kinetics600_labels
from activity_cli.features.movinet import load_movinet
from activity_cli.features.tflite import read_constants
from activity_cli.model.kinetics600 import default_model, describe_kinetics600
from activity_cli.video.clips import read_clip
from tests.action_weights import real_weights
from tests.media import DrawClip, drifting_pictures
from tests.processes import PATIENCE_SECONDS
from tests.workplace import Workplace

QUESTION = "Download the 3.3 MB network for 600 everyday actions? [Y/n]"


@pytest.fixture
def bare(tmp_path: Path, prepared: Path, draw_clip: DrawClip) -> Workplace:
    """A workplace with `clip.avi`, on a machine without the weights and without a network."""
    draw_clip(frames=20)
    workplace = Workplace(tmp_path, prepared)
    workplace.environment |= {"ACTIVITY_WEIGHTS": "", "https_proxy": "http://127.0.0.1:9"}
    return workplace


def test_scores_are_those_of_the_published_network(tmp_path: Path, draw_clip: DrawClip) -> None:
    clip = draw_clip(pictures=drifting_pictures(40))
    network, head = load_movinet(read_constants(real_weights().read_bytes()))
    frames = read_clip(clip, describe_kinetics600().clip).images["action"]
    with torch.inference_mode():
        expected = torch.softmax(head(network(torch.from_numpy(frames)[None]))[1], dim=1)[0]

    with load_model("kinetics600", engine="torch", cache_dir=tmp_path) as model:
        prediction = model.predict(clip).prediction

    assert prediction is not None
    assert prediction.labels == kinetics600_labels()
    np.testing.assert_allclose(prediction.scores, expected, atol=2e-3)  # features are float16


def test_it_is_the_default_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = real_weights()
    monkeypatch.setenv("ACTIVITY_CACHE_DIR", str(tmp_path))

    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(weights.parent))
    assert default_model() == "kinetics600"
    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(tmp_path))
    assert default_model() == "surveillance-fight"
    with pytest.raises(BackboneError, match="not on this machine") as error:
        load_model("kinetics600")
    assert "activity models pull movinet_a0" in error.value.hint


def test_a_pipe_gets_the_shipped_model_and_no_question(bare: Workplace) -> None:
    done = bare.run("predict", "clip.avi", "--json")

    assert json.loads(done.stdout)["model"] == "surveillance-fight"
    assert "can only answer fight or noFight" in done.stderr
    assert "activity models pull movinet_a0" in done.stderr
    assert "Download" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "failures"), [("n", 0), ("y", 1)])
def test_a_terminal_gets_one_question_and_an_answer_in_any_case(
    bare: Workplace, answer: str, failures: int
) -> None:
    bare.environment["ACTIVITY_CACHE_DIR"] = str(shutil.copytree(bare.cache, bare.folder / "cache"))
    messages = [predict_in_a_terminal(bare, answer) for _ in range(2)]

    assert messages[0].count(QUESTION) == 1
    assert messages[0].count("No address gave the weights") == failures
    assert (QUESTION in messages[1]) == (answer == "y")  # who declines is not asked again


def predict_in_a_terminal(bare: Workplace, answer: str) -> str:
    """What `predict` writes into a terminal whose user types the answer."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "activity_cli", "predict", "clip.avi"],
        cwd=bare.folder,
        env=bare.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    os.close(theirs)
    assert b"fight" in done.stdout
    return os.read(ours, 1 << 16).decode()
