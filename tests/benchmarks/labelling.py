"""Search by example and the choice of what to label next, on labelled clips.

    python -m tests.benchmarks.labelling DATA... [--seeds 10]

DATA are folders of clips by label, such as the fights, Weizmann, and what `activity sample` draws.
Features are those of the included model's CNN, from the cache.

Search: each clip is the example once; precision at 10 is the share of the 10 most similar other
clips that have its label, averaged by label. Random is the share of the label among other clips.

Next: two thirds of the groups (or clips) are the pool, the rest is the test. Starting with one clip
of each label, batches of as many clips as labels are labelled, by `choose_diverse` or at random,
and a closed-form linear head (ridge regression on the labels, of standardised vectors) is fitted
anew. This stands for the program's head, which would take hours here. Figures are the labels that
it takes to reach 95% of the accuracy with the whole pool, and their ratio with its 95% interval,
by the bootstrap over seeds.
"""

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import number_groups
from activity_cli.data.loading import load_dataset
from activity_cli.evaluation.intervals import mean_with_interval
from activity_cli.features.extraction import clip_request
from activity_cli.predict.moments import (
    EmbeddedVideo,
    Vectors,
    choose_diverse,
    embed_videos,
    similarities,
)
from activity_cli.predict.predictor import load_predictor
from activity_cli.settings import DEFAULT_MODEL

Indices = NDArray[np.int64]
_TOP = 10
_ENOUGH = 0.95  # of the accuracy with all labels


def main() -> None:
    """Read the features, search, choose, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    for data in arguments.data:
        vectors, targets, groups, labels = read(data)
        print(f"{data.name}: {len(targets)} clips, {len(labels)} labels")
        for label, found, chance in precision_at_10(vectors, targets, groups, labels):
            print(f"  find  {label:12s} precision at {_TOP} {found:.3f}, random {chance:.3f}")
        results = [compare(vectors, targets, groups, seed) for seed in range(arguments.seeds)]
        chosen, random, full = np.array(results).T
        ratio = mean_with_interval(chosen / random, None)
        print(
            f"  next  accuracy with all {full.mean():.3f}; labels for {_ENOUGH:.0%} of it: "
            f"next {chosen.mean():.1f}, random {random.mean():.1f}, ratio {ratio.value:.2f} "
            f"({ratio.low:.2f} to {ratio.high:.2f}), {len(results)} seeds"
        )


def read(data: Path) -> tuple[Vectors, Indices, Indices, tuple[str, ...]]:
    """Return vectors (N, E), labels and groups (N,) as numbers, and the labels' names."""
    table = data / "labels.csv"
    dataset = load_dataset(table if table.is_file() else data)
    with closing(load_predictor(DEFAULT_MODEL)) as predictor:
        found = list(embed_videos(predictor, map(clip_request, dataset.samples)))
    kept = [n for n, one in enumerate(found) if isinstance(one, EmbeddedVideo)]
    vectors = np.stack([one.vectors[0] for one in found if isinstance(one, EmbeddedVideo)])
    groups = number_groups([sample.group for sample in dataset.samples])
    groups = np.arange(len(found)) if groups is None else groups
    return vectors, dataset.label_indices()[kept], groups[kept], dataset.labels


def precision_at_10(
    vectors: Vectors, targets: Indices, groups: Indices, labels: tuple[str, ...]
) -> list[tuple[str, float, float]]:
    """Return (label, precision, share of the label) over clips of other groups than the example."""
    hits, shares = np.zeros(len(targets)), np.zeros(len(targets))
    for n in range(len(targets)):
        others = np.flatnonzero(groups != groups[n])
        best = others[np.argsort(-similarities(vectors[n], vectors[others]), kind="stable")]
        hits[n] = (targets[best[:_TOP]] == targets[n]).mean()
        shares[n] = (targets[others] == targets[n]).mean()
    rows = [(name, targets == number) for number, name in enumerate(labels)]
    each = [(name, float(hits[own].mean()), float(shares[own].mean())) for name, own in rows]
    means = np.array([row[1:] for row in each]).mean(axis=0)
    return [*each, ("mean", float(means[0]), float(means[1]))]


def compare(
    vectors: Vectors, targets: Indices, groups: Indices, seed: int
) -> tuple[float, float, float]:
    """Return the labels that `next` and random choice take, and the accuracy with all labels."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(groups.max() + 1)
    is_test = np.isin(groups, order[: max(1, round(len(order) / 3))])
    pool, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    standard = (vectors - vectors[pool].mean(0)) / (vectors[pool].std(0) + 1e-3)
    first = [int(draw.choice(pool[targets[pool] == c])) for c in np.unique(targets[pool])]

    def accuracy(rows: Indices) -> float:
        return float((outputs(standard, targets, rows)[test].argmax(1) == targets[test]).mean())

    full = accuracy(pool)
    counts = []
    for is_random in (False, True):
        labelled = np.array(first)
        while accuracy(labelled) < _ENOUGH * full and len(labelled) < len(pool):
            left = np.setdiff1d(pool, labelled)
            size = min(len(first) if len(first) > 2 else 5, len(left))
            if is_random:
                batch = draw.choice(left, size, replace=False)
            else:
                best = np.sort(outputs(standard, targets, labelled)[left], axis=1)
                needs = np.clip(1 - (best[:, -1] - best[:, -2]), 0.01, 1)
                free = np.ones(len(left), np.bool_)
                found = choose_diverse(needs, vectors[left], free, labelled=vectors[labelled])
                batch = left[[next(found)[0] for _ in range(size)]]
            labelled = np.concatenate([labelled, batch])
        counts.append(float(len(labelled)))
    return counts[0], counts[1], full


def outputs(standard: NDArray[Any], targets: Indices, rows: Indices) -> NDArray[np.float64]:
    """Return (N, C) outputs of a ridge regression fitted to these rows, in its dual form."""
    known = standard[rows].astype(np.float64)
    gram = known @ known.T
    wanted = np.eye(targets.max() + 1)[targets[rows]]
    mean = wanted.mean(0)
    ridge = 0.1 * np.trace(gram) / len(rows)
    weights = np.linalg.solve(gram + ridge * np.eye(len(rows)), wanted - mean)
    return np.asarray(standard @ known.T @ weights + mean, np.float64)


if __name__ == "__main__":
    main()
