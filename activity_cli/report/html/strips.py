"""The clips that a report shows: which, and their pictures, decoded again."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from activity_cli.errors import VideoError
from activity_cli.report.data import Answers, Case
from activity_cli.video.decoder_pool import ClipReader, DecoderPool, Decoders

MOST_CASES = 8
_NUM_PICTURES = 6
_HEIGHT = 132


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Pictures of a clip, or why there are none."""

    images: tuple[str, ...] = ()
    """data: URIs."""
    seconds: tuple[float, ...] = ()
    """The time of each in its video."""
    size: tuple[int, int] = (4, 3)
    """Width and height."""
    problem: str = ""


def confident_mistakes(answers: Answers) -> list[int]:
    """Positions of the clips that were named wrongly with the highest scores."""
    wrong = np.flatnonzero(~answers.is_right)
    best = answers.scores[wrong].max(axis=1)
    found: list[int] = wrong[np.argsort(-best, kind="stable")][:MOST_CASES].tolist()
    return found


def least_certain(answers: Answers) -> list[int]:
    """Positions of the clips whose two best scores are closest."""
    in_order = np.sort(answers.scores, axis=1)
    margin = in_order[:, -1] - in_order[:, -2]
    found: list[int] = np.argsort(margin, kind="stable")[:MOST_CASES].tolist()
    return found


def read_strips(
    answers: Answers, positions: Sequence[int], decoders: Decoders
) -> Mapping[int, Strip]:
    """Decode a few pictures of each of some clips.

    Args:
        answers: which clips there are.
        positions: of those that are wanted.
        decoders: how many are decoded at a time.
    """
    wanted = list(dict.fromkeys(positions))
    if not wanted:
        return {}
    cases = [answers.cases[position] for position in wanted]
    with DecoderPool(decoders) as pool, ThreadPoolExecutor(decoders.num_workers) as threads:
        reader = pool.reader()
        strips = list(threads.map(lambda case: _read(reader, case), cases))
    return dict(zip(wanted, strips, strict=True))


def _read(reader: ClipReader, case: Case) -> Strip:
    from activity_cli.report.overlay.strips import read_jpegs

    share = (np.arange(_NUM_PICTURES) + 0.5) / _NUM_PICTURES
    moments = (case.start_seconds + share * case.duration_seconds).tolist()
    try:
        files, size = reader.call(read_jpegs, case.sample.path, moments, height=_HEIGHT)
    except VideoError as error:
        return Strip(problem=str(error))
    images = (base64.b64encode(file.tobytes()).decode() for file in files)
    return Strip(
        images=tuple(f"data:image/jpeg;base64,{image}" for image in images),
        seconds=tuple(moments),
        size=size,
    )
