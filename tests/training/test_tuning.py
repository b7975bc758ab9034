"""Tuning: the same numbers as training, exact resume, and nested scores without leakage."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.splits import Folds
from activity_cli.errors import OutputError, SettingsError
from activity_cli.features.labelled import FeatureDataset
from activity_cli.report.figures import plot_tuning
from activity_cli.settings import (
    STREAMS,
    ClipSettings,
    NetworkSettings,
    Stream,
    Temporal,
    TrainSettings,
)
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows
from activity_cli.training.tuning.data import (
    FeatureStore,
    Fold,
    TuningData,
    frames_taken,
    plan_readings,
)
from activity_cli.training.tuning.folder import open_folder, open_study
from activity_cli.training.tuning.folds import FoldScorer, score_fold
from activity_cli.training.tuning.run import NestedResult, importance_of, run_nested
from activity_cli.training.tuning.search import Search, SearchResult
from activity_cli.training.tuning.space import Candidate, Space
from activity_cli.video.sampling import partner_indices, sample_indices
from tests.processes import stop_once
from tests.workplace import FEW_PIXELS, Workplace, rows_of

NUM_CLIPS, NUM_FRAMES, SIZE = 60, 9, 32
BASE = Candidate(
    clip=ClipSettings(num_frames=NUM_FRAMES),
    network=NetworkSettings(hidden_size=8, projection_size=8, num_components=16),
    training=TrainSettings(epochs=3),
)


def some_features(seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Clips of two labels that can be told apart, mostly."""
    targets = np.arange(NUM_CLIPS) % 2
    features = np.random.default_rng(seed).normal(size=(NUM_CLIPS, 2, NUM_FRAMES, SIZE))
    features[..., :8] += 0.4 * targets[:, None, None, None]
    return features.astype(np.float16), targets


def store_in(folder: Path, features: NDArray[np.float16], *num_frames: int) -> FeatureStore:
    store = FeatureStore(folder=folder, streams=STREAMS, num_read=plan_readings(num_frames))
    np.save(store.path(NUM_FRAMES), features)
    return store


@pytest.mark.parametrize("every", [3, 5])
def test_every_kth_frame_is_what_would_be_sampled_alone(every: int) -> None:
    # Frame times with jitter and gaps, as from a phone; the piece begins within the video.
    seconds = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.09, size=200))
    assert plan_readings([8, 8 * every, 16])[8] == 8 * every
    assert plan_readings([8, 16])[8] == 8  # the middles of halves are between frames
    for start in (None, 1.3):
        many, few = (
            sample_indices(seconds, 7.7, number, start_seconds=start) for number in (8 * every, 8)
        )
        taken = frames_taken(8 * every, 8)
        np.testing.assert_array_equal(many[taken], few)
        for of_many, of_few in zip(
            partner_indices(seconds, many, 1 / 12),
            partner_indices(seconds, few, 1 / 12),
            strict=True,
        ):
            np.testing.assert_array_equal(of_many[taken], of_few)


@pytest.mark.parametrize(
    ("temporal", "streams", "num_frames"),
    [("lstm", STREAMS, 9), ("lstm", ("motion",), 3), ("mean", ("rgb",), 9)],
)
def test_a_trial_scores_as_training_does_to_the_last_bit(
    tmp_path: Path, temporal: Temporal, streams: tuple[Stream, ...], num_frames: int
) -> None:
    features, targets = some_features()
    rows = np.random.default_rng(1).permutation(NUM_CLIPS)
    fold = Fold(name="fold", train=rows[:30], val=rows[30:45], held_out=rows[45:])
    clip = replace(BASE.clip, num_frames=num_frames, streams=streams)
    network = replace(BASE.network, temporal=temporal)
    candidate = replace(BASE, clip=clip, network=network)
    store = store_in(tmp_path, features, NUM_FRAMES, 3)

    scores = [
        score_fold(store, fold, targets, candidate, num_labels=2)
        for _ in ("encoded", "read from disk")
    ]

    chosen = features[:, [STREAMS.index(stream) for stream in streams]]
    alone = chosen[:, :, 1::3] if num_frames == 3 else chosen
    fitted = fit_head(
        FeatureDataset(values=alone, targets=targets, labels=("0", "1"), streams=streams),
        HeadConfig(network=network, training=BASE.training),
        train_rows=fold.train,
        val_rows=fold.val,
    )
    for each in scores:
        np.testing.assert_array_equal(each, score_rows(fitted.network, alone, fold.held_out))


def small_data(
    folder: Path, features: NDArray[np.float16], targets: NDArray[np.int64]
) -> TuningData:
    folder.mkdir(exist_ok=True)
    samples = tuple(
        Sample(path=Path(f"{row}.mp4"), name=str(row), label=str(label), group=f"g{row // 4}")
        for row, label in enumerate(targets)
    )
    return TuningData(
        dataset=Dataset(root=folder, samples=samples, labels=("0", "1")),
        targets=targets,
        store=store_in(folder, features, NUM_FRAMES),
        seed=0,
    )


def search_among(
    rows: NDArray[np.int64], name: str, data: TuningData, scorer: FoldScorer
) -> SearchResult:
    """Run three trials without an LSTM, scored on two folds."""
    base = replace(BASE, network=replace(BASE.network, temporal="mean"))
    space = Space.around(base, names=["streams"])
    folds = data.folds(rows, Folds(index=rows // 4 % 2, names=("1", "2"), by="groups"), name=name)
    study = import_optuna().create_study(direction="minimize")
    search = Search(
        study=study, space=space, folds=folds, targets=data.targets, scorer=scorer, seed=0
    )
    return search.run(num_trials=3)


def tune_nested(
    folder: Path, features: NDArray[np.float16], targets: NDArray[np.int64]
) -> tuple[NestedResult, dict[str, SearchResult]]:
    """Three outer folds, two inner ones, few trials; and the search behind each outer fold."""
    data = small_data(folder, features, targets)
    outer = Folds(index=np.arange(NUM_CLIPS) // 4 % 3, names=("a", "b", "c"), by="groups")
    found: dict[str, SearchResult] = {}
    with FoldScorer(data.store, targets, num_labels=2, num_workers=1) as scorer:

        def search(rows: NDArray[np.int64], without: str) -> SearchResult:
            found[without] = search_among(rows, without, data, scorer)
            return found[without]

        base = replace(BASE, network=replace(BASE.network, temporal="mean"))
        return run_nested(data, outer, Space.around(base), scorer, search), found


@pytest.mark.slow
def test_the_nested_score_never_sees_the_outer_fold(tmp_path: Path) -> None:
    features, targets = some_features()
    held_out = np.flatnonzero(np.arange(NUM_CLIPS) // 4 % 3 == 0)  # of fold a
    nested, found = tune_nested(tmp_path / "one", features, targets)
    # The same with nonsense in fold a: other features, and the other label for every clip.
    features[held_out] = some_features(seed=7)[0][held_out]
    targets[held_out] = 1 - targets[held_out]
    spoilt, found_then = tune_nested(tmp_path / "two", features, targets)

    assert judged(found["a"]) == judged(found_then["a"])
    assert judged(found["b"]) != judged(found_then["b"])  # it learned from fold a
    is_right, is_right_then = (
        each.tuned.argmax(axis=1)[held_out] == labels[held_out]
        for each, labels in ((nested, np.arange(NUM_CLIPS) % 2), (spoilt, targets))
    )
    assert is_right.mean() > 0.7
    assert is_right_then.mean() < 0.5
    of_true = nested.tuned[np.arange(NUM_CLIPS), np.arange(NUM_CLIPS) % 2]
    assert -np.log(of_true).mean() < 0.6  # a coin has 0.69
    assert nested.searches["a"].best == found["a"].best


def test_optuna_draws_the_pictures_and_changes_no_style(tmp_path: Path) -> None:
    optuna = import_optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(12):  # the penalty has an effect with one of two values only
        trial = study.ask()
        temporal = trial.suggest_categorical("temporal", ("lstm", "mean"))
        loss = trial.suggest_float("dropout", 0, 1) if temporal == "lstm" else 0.5
        study.tell(trial, loss)
    style = dict(rcParams)

    shares = importance_of(study)
    plot_tuning(study, shares, tmp_path)

    assert set(shares) == {"temporal", "dropout"}
    assert sum(shares.values()) == pytest.approx(1)
    for name in ("history", "settings", "importance"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert dict(rcParams) == style


def judged(result: SearchResult) -> list[tuple[object, ...]]:
    return [(dict(trial.point), trial.log_loss, trial.accuracy) for trial in result.trials]


def test_a_setting_that_cannot_be_searched_is_refused() -> None:
    with pytest.raises(SettingsError, match="epochs cannot be searched") as caught:
        Space.around(BASE, names=["epochs"])
    assert "hidden_size" in (caught.value.hint or "")
    # What a search begins with is in its space, wherever that is.
    wide = Space.around(replace(BASE, training=TrainSettings(learning_rate=0.5)), frames=(4,))
    assert wide.frames == (4, 9)
    assert wide.default_point()["learning_rate"] == 0.5


SEARCH = (
    *("tune", "clips", "--folds", "2", "--trials", "3", *FEW_PIXELS),
    *("--search", "temporal", "--search", "learning_rate", "--search", "hidden_size"),
    *("--epochs", "2", "--seed", "3", "--workers", "1"),
)


@pytest.mark.slow
def test_a_search_that_was_killed_ends_as_one_that_was_not(
    shared: Workplace, workplace: Workplace
) -> None:
    (workplace.folder / "clips").symlink_to(shared.folder / "clips")
    said = workplace.run(*SEARCH, "--output", "whole")
    assert "optimistic" in said.stdout
    assert "activity train clips --settings whole/best.toml" in said.stdout

    broken = workplace.folder / "broken"
    process = workplace.start(*SEARCH, "--output", "broken")
    trials = broken / "trials.csv"
    stop_once(process, lambda: trials.exists() and len(rows_of(trials)) >= 1)
    process.kill()
    process.communicate()
    workplace.run(*SEARCH, "--output", "broken")

    whole = workplace.folder / "whole"
    assert trials_in(broken) == trials_in(whole)
    assert len(trials_in(whole)) == 3
    assert not list(broken.glob(".work/*"))

    best = min(rows_of(whole / "trials.csv"), key=lambda row: float(row["log_loss"]))
    workplace.run("train", "clips", "--settings", "whole/best.toml", "--name", "tuned")
    used = tomllib.loads((workplace.folder / "runs/tuned/settings.toml").read_text())
    assert used["training"]["learning_rate"] == float(best["learning_rate"] or 3e-3)
    assert used["network"]["temporal"] == best["temporal"]
    assert used["training"]["epochs"] == 2
    assert {path.name for path in whole.glob("*.png")} >= {"history.png", "settings.png"}


def test_a_folder_takes_one_search_at_a_time_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "50% of it?"
    one, other = {"data set": "a", "search space": [1]}, {"data set": "a", "search space": [2]}
    with open_folder(folder, one) as work:
        (work / "features.npy").touch()
        with pytest.raises(OutputError, match="Another search is running"):
            enter(folder, one)
    assert not work.exists()
    assert open_study(folder, "all").study_name == "all"
    with pytest.raises(OutputError, match="another search space"):
        enter(folder, other)
    with open_folder(folder, one):
        assert (folder / "study.db").exists()
    with open_folder(folder, other, overwrite=True):
        assert not (folder / "study.db").exists()


def enter(folder: Path, identity: Mapping[str, object]) -> None:
    with open_folder(folder, identity):
        pass


def trials_in(folder: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in rows_of(folder / "trials.csv")
    ]
