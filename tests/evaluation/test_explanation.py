"""Explanations: contributions add up and lie where and when the action is."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.errors import ActivityError
from activity_cli.evaluation.explanation import attribution, heatmaps
from activity_cli.evaluation.explanation.explainer import check_request
from activity_cli.evaluation.explanation.summary import describe_agreement, find_span, where
from activity_cli.evaluation.explanation.values import Floats, Importance, rank_correlation
from activity_cli.features.backbones import find_backbone, scratch_backbone
from activity_cli.features.cnn import FrameFeatures, build_cnn, scratch_features, without_classifier
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.movinet import build_action_features, build_kinetics600_classifier
from activity_cli.model.folder import load_model
from activity_cli.model.network import FeatureStatistics, SequenceClassifier, load_scorer
from activity_cli.report.figures.explanation import heat_at
from activity_cli.sampledata.actions import Style
from activity_cli.settings import ClipSettings, CnnSettings, NetworkSettings, Pooling, Temporal
from activity_cli.video.clips import read_clip
from tests.action_weights import real_weights
from tests.stillness import (
    cnn_features,
    draw_still_clip,
    importance_for,
    perform_amid_stillness,
    randomised,
    share_in_middle,
)
from tests.workplace import Workplace

S, T, D, R, C = 2, 8, 12, 5, 3


def floats(values: list[Any]) -> Floats:
    return np.array(values, np.float32)


def network(
    temporal: Temporal = "lstm",
    pooling: Pooling = "attention",
    *,
    layers: int = 1,
    trained: bool = True,
    seed: int = 0,
) -> SequenceClassifier:
    torch.manual_seed(seed)
    coefficients = 1 if temporal == "frame" else 3
    statistics = FeatureStatistics(
        mean=torch.randn(S, coefficients, D),
        scale=torch.rand(S, coefficients, D) + 0.5,
        components=torch.randn(S, D, R),
    )
    settings = NetworkSettings(
        temporal=temporal, pooling=pooling, hidden_size=6, projection_size=4, num_layers=layers
    )
    made = SequenceClassifier(settings, num_labels=C, statistics=statistics)
    nn.init.normal_(made.pooled_head.weight)
    if temporal == "lstm" and trained:
        nn.init.normal_(made.temporal_head.classifier.weight)
    return made.eval().requires_grad_(False)


def measure(made: SequenceClassifier, seed: int = 1) -> Importance:
    features = torch.randn(S, T, D, generator=torch.Generator().manual_seed(seed))
    return attribution.measure_importance(
        [made], features, attribution.evidence_weights(C, 1, temperature=1.5)
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both_ways", [True, False])
def test_gates_recomputed_step_by_step_give_what_torchs_lstm_gives(
    layers: int, both_ways: bool
) -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(7, 5, num_layers=layers, bidirectional=both_ways, batch_first=True).eval()
    sequence = torch.randn(9, 7)
    with torch.no_grad():
        outputs, (_, cells) = lstm(sequence[None])
    traces = attribution.read_gates(lstm, sequence)
    assert [trace.layer for trace in traces] == sorted(list(range(layers)) * (1 + both_ways))
    last = traces[-1 - both_ways :]
    hidden = np.concatenate([trace.hidden for trace in last], axis=1)
    np.testing.assert_allclose(hidden, outputs[0].numpy(), atol=1e-6)
    for trace, cell in zip(traces, cells, strict=True):  # where each direction ends
        end = trace.cell[0 if trace.direction == "backward" else -1]
        np.testing.assert_allclose(end, cell[0].numpy(), atol=1e-6)
    assert all(((g > 0) & (g < 1)).all() for t in traces for g in (t.input, t.forget, t.output))


@pytest.mark.parametrize("temporal", ["lstm", "mean", "frame"])
@pytest.mark.parametrize("pooling", ["attention", "mean", "last"])
def test_contributions_add_up_to_the_evidence(temporal: Temporal, pooling: Pooling) -> None:
    found = measure(network(temporal, pooling))
    assert found.constant + found.contributions.sum() == pytest.approx(found.evidence, abs=2e-3)
    if temporal == "frame":
        assert np.flatnonzero(found.per_frame).tolist() == [T // 2]


def test_evidence_is_the_log_odds_of_two_labels() -> None:
    logits, temperature = torch.tensor([0.3, -1.2]), 0.7
    score = torch.softmax(logits / temperature, dim=0)[0]
    evidence = logits @ attribution.evidence_weights(2, 0, temperature)
    assert float(evidence) == pytest.approx(float(torch.log(score / (1 - score))), abs=1e-6)


def test_an_unused_lstm_contributes_nothing_and_has_no_attention() -> None:
    made = network(trained=False)
    made.pooled_head.weight.view(C, S, 3, D)[:, :, 1:] = 0  # reads the mean over time alone
    unused = measure(made)
    assert unused.attention is None
    assert not unused.temporal.any()
    assert unused.lstm_share == 0
    assert unused.agreement == pytest.approx(1)  # the mean of the frames is linear in each
    assert "exact" in describe_agreement(unused)
    used = measure(network())
    assert used.attention is not None
    assert used.attention.sum() == pytest.approx(1, abs=1e-5)
    assert 0 < used.lstm_share < 1


def test_of_several_networks_the_mean_is_explained() -> None:
    one, other = network(seed=0), network(seed=5)
    features = torch.randn(S, T, D)
    weights = attribution.evidence_weights(C, 0, 1.0)
    both = attribution.measure_importance([one, other], features, weights)
    mean_logits = (one(features[None]) + other(features[None]))[0] / 2
    assert both.evidence == pytest.approx(float(mean_logits @ weights), abs=1e-4)
    assert both.constant + both.contributions.sum() == pytest.approx(both.evidence, abs=2e-3)


def test_a_contribution_that_depends_on_other_frames_is_reported_as_uncertain() -> None:
    made = measure(network())
    flipped = Importance(
        pooled=made.pooled,
        temporal=made.temporal,
        constant=0.0,
        evidence=0.0,
        occlusion=-made.per_frame,
        attention=made.attention,
    )
    assert flipped.agreement == pytest.approx(-1)
    assert "uncertain" in describe_agreement(flipped)


def test_rank_correlation_with_ties() -> None:
    first, second = floats([1, 2, 2, 4]), floats([10, 30, 20, 40])
    assert rank_correlation(first, second) == pytest.approx(0.9486833)  # scipy.stats.spearmanr
    assert rank_correlation(first, np.ones(4, np.float32)) is None


# Heat maps.


def lite0() -> FrameFeatures:
    return build_cnn(find_backbone())


def fresh(name: str) -> FrameFeatures:
    """A CNN of torchvision with random weights, so that nothing is fetched."""
    torch.manual_seed(0)
    made = import_torchvision().models.get_model(name, weights=None)
    return without_classifier(made, mean=(127.0,) * 3, std=(60.0,) * 3)


def noise(
    count: int, side: int, channels: int = 3
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("efficientnet_lite0", "_last"),
        ("resnet18", "layer4"),
        ("convnext_tiny", "features"),
    ],
)
def test_heat_adds_up_to_the_output_of_a_linear_layer(name: str, stage: str) -> None:
    cnn = lite0() if name == "efficientnet_lite0" else fresh(name)
    images = noise(2, 96)
    assert heatmaps.last_stage(cnn, torch.from_numpy(images[:1])) == stage
    seen = heatmaps.run_cnn(cnn, stage, images)
    np.testing.assert_allclose(
        seen.features.detach(), cnn(torch.from_numpy(images)), rtol=1e-4, atol=1e-5
    )
    reader = torch.randn(cnn.feature_size, generator=torch.Generator().manual_seed(1))
    nothing = torch.rand(2, cnn.feature_size)
    heat = heatmaps.heat_of(seen, [((seen.features @ reader).sum(), nothing)])
    assert heat.shape == (2, 3, 3)
    if name == "convnext_tiny":
        return  # a layer that is not linear follows the mean over all cells
    read = ((seen.features.detach() - nothing) @ reader).numpy()
    np.testing.assert_allclose(heat.sum(axis=(1, 2)), read, rtol=1e-3, atol=1e-3)


def test_the_parts_of_kinetics600_add_up_to_its_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(real_weights().parent))
    classifier = build_kinetics600_classifier()
    seen = heatmaps.run_action(build_action_features(), noise(4, 172))
    features = seen.features[None]
    logits = classifier(features.detach()[None])[0].detach()
    weights = attribution.evidence_weights(len(logits), int(logits.argmax()), 1.0)

    network, means = attribution.linear_at(classifier, features)
    found = attribution.measure_importance([network], means.detach(), weights)
    heat = heatmaps.heat_of(seen, heatmaps.evidence_terms([network], means, weights))

    assert found.evidence == pytest.approx(float(logits @ weights), rel=1e-3)
    each = found.pooled[0]
    assert each.sum() + found.constant == pytest.approx(found.evidence, rel=1e-3)
    np.testing.assert_allclose(heat.sum(axis=(1, 2)), each, rtol=1e-3, atol=1e-3)
    assert np.abs(each).min() > 0.01


def test_heat_lies_where_the_picture_is_other() -> None:
    cnn, plain = lite0(), np.full((1, 224, 224, 3), 128, np.uint8)
    odd = plain.copy()
    odd[0, 150:210, 10:70] = noise(1, 60)[0]
    with torch.no_grad():
        of_plain, of_odd = (cnn(torch.from_numpy(images)) for images in (plain, odd))
    seen = heatmaps.run_cnn(cnn, heatmaps.last_stage(cnn, torch.from_numpy(plain)), odd)
    evidence = (seen.features @ (of_odd - of_plain)[0]).sum()
    heat = heatmaps.heat_of(seen, [(evidence, of_plain)])
    once = Importance(
        pooled=np.ones((1, 1), np.float32),
        temporal=np.zeros((1, 1), np.float32),
        constant=0.0,
        evidence=1.0,
        occlusion=np.ones(1, np.float32),
        attention=None,
    )
    assert where(heat, once) == "in the lower left"
    assert where(np.ones_like(heat), once) == "all over the frame"


def test_a_cnn_trained_from_scratch_has_heat_maps_too() -> None:
    grey = ClipSettings(frame_size=48, channels=1)
    cnn = scratch_features(scratch_backbone(grey, CnnSettings(conv_channels=(4, 8))))
    images = noise(3, 48, channels=1)
    stage = heatmaps.last_stage(cnn, torch.from_numpy(images[:1]))
    seen = heatmaps.run_cnn(cnn, stage, images)
    nothing = torch.zeros_like(seen.features)
    heat = heatmaps.heat_of(seen, [(seen.features.sum(), nothing)])
    assert heat.shape == (3, 12, 12)  # finer than the 4 x 4 cells that it reads features from
    assert heat.any()


def test_heat_between_two_frames_is_blended() -> None:
    heat = floats([[[0.0]], [[1.0]], [[3.0]]])
    times = np.array([1.0, 2.0, 4.0])
    found = [float(heat_at(heat, times, t)[0, 0]) for t in (0.0, 1.5, 2.0, 3.0, 9.0)]
    assert found == [0.0, 0.5, 1.0, 2.0, 3.0]


# When, and clips that keep still.


def test_the_span_is_the_shortest_with_half_of_the_evidence() -> None:
    says = floats([[0.1, -5.0, 0.1, 2.0, 1.0, 0.1, 0.1, 0.1]])
    found = find_span(
        Importance(
            pooled=says,
            temporal=np.zeros_like(says),
            constant=0.0,
            evidence=0.0,
            occlusion=says[0],
            attention=None,
        )
    )
    assert found is not None
    assert (found.first, found.last, found.is_short) == (3, 3, True)


@pytest.mark.parametrize("label", ["jump", "walk", "sit_down", "put_down"])
def test_amid_stillness_nobody_moves_before_and_after(label: str) -> None:
    style = Style.draw(np.random.default_rng(3), 2.0)
    motion = perform_amid_stillness(label, np.linspace(0, 1, 61), style)
    for values in (motion.pelvis, motion.hands, motion.feet, motion.lean, motion.travel):
        assert len(values) == 61
        for still in (values[:20], values[-20:]):
            np.testing.assert_allclose(still, np.broadcast_to(still[:1], still.shape), atol=1e-12)
    assert np.ptp(motion.hands[20:-20], axis=0).max() > 0.2


@pytest.mark.slow
def test_importance_lies_where_the_action_is_unless_the_network_is_random(
    shared: Workplace, tmp_path: Path
) -> None:
    model = load_model(shared.folder / "runs" / "first")
    cnn, scorer = build_cnn(model.description.backbone), load_scorer(model)
    scorers = [scorer, *(randomised(scorer, seed) for seed in range(10))]
    jump, shares = model.description.labels.index("jump"), []
    for number in range(3):
        path = draw_still_clip(tmp_path / f"{number}.avi", "jump", number)
        features = cnn_features(cnn, read_clip(path, model.description.clip))
        found = [importance_for(one, features, jump) for one in scorers]
        shares.append([share_in_middle(one.per_frame) for one in found])
    of_trained, of_random = np.array(shares)[:, 0], np.array(shares)[:, 1:]
    assert of_trained.min() > 0.6  # a third would be chance
    # To a random network movement is as often a reason against the label as one for it.
    assert (of_random > 0.6).mean() < 0.5
    assert np.nanmean(of_random) < of_trained.mean() - 0.25


# The command.


def test_explain_writes_picture_values_and_video(shared: Workplace, workplace: Workplace) -> None:
    model, clips = str(shared.folder / "runs" / "first"), shared.folder / "clips" / "walk"
    video = workplace.folder / "a [b] c.mp4"
    video.write_bytes(sorted(clips.glob("*.mp4"))[0].read_bytes())
    done = workplace.run(
        "explain",
        video.name,
        *("--model", model, "--label", "wave", "--start", "0.3", "--end", "1.3"),
        *("--output", "why", "--save-video", "why.mp4", "--json"),
    )
    values = json.loads(done.stdout)
    assert values == json.loads((workplace.folder / "why" / "explanation.json").read_text())
    assert (values["label"], values["predicted"]["label"]) == ("wave", "walk")
    total = values["evidence"]["constant"] + sum(frame["evidence"] for frame in values["frames"])
    assert total == pytest.approx(values["evidence"]["total"], abs=0.02)
    assert re.match(r"wave \d+\.\d%", values["summary"])
    assert (values["start_seconds"], len(values["frames"])) == (0.3, 8)
    assert all(0.2 < frame["seconds"] < 1.3 for frame in values["frames"])
    heat = np.array([frame["heat"]["motion"] for frame in values["frames"]])
    assert heat.shape == (8, 2, 2)
    picture = cv2.imread(str(workplace.folder / "why" / "explanation.png"))
    assert picture is not None
    assert picture.shape[1] == 1800
    before, after = frames_of(video), frames_of(workplace.folder / "why.mp4")
    rate = cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS)
    assert len(after) == pytest.approx(rate, abs=1.5)  # of the second that was asked for
    assert after[0].shape == before[0].shape


def frames_of(path: Path) -> "list[cv2.typing.MatLike]":
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_what_cannot_be_explained_is_refused_in_one_line(tmp_path: Path) -> None:
    video, export = ClipRequest(path=tmp_path / "v.mp4"), tmp_path / "model.onnx"
    export.write_bytes(b"")
    refused = [
        (video, str(export), None, "is an exported model"),
        (ClipRequest(path=tmp_path / "scores.csv"), "surveillance-fight", None, "holds results"),
        (ClipRequest(path=tmp_path / "s.csv.journal"), "surveillance-fight", None, "holds results"),
        (video, "surveillance-fight", "dance", "has no label 'dance'"),
        (video, "nowhere", None, "There is no model"),
    ]
    for request, model, label, reason in refused:
        with pytest.raises(ActivityError, match=reason) as caught:
            check_request(request, model, label=label)
        assert "\n" not in caught.value.message
        assert caught.value.hint
