"""`activity next`: the moments whose labels would help a model most."""

from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.moments import MomentOptions
from activity_cli.cli.predict_options import LengthOptions
from activity_cli.cli.progress import progress_report


def next(
    videos: options.Sources,
    *,
    own: MomentOptions,
    per_video: Annotated[int, typer.Option(min=1, help="Moments of one video, at most.")] = 5,
    lengths: LengthOptions,
    machine: options.MachineOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Choose the moments that are worth labelling next.

    Prefers moments whose label the model is not certain of, that are unlike its training clips, and
    unlike each other. Label them, train again, and repeat.

    Example:  activity next footage/ --model runs/gym --storyboard next.png
    """
    own.check(overwrite=overwrite)
    from activity_cli.predict.moments import rank_moments
    from activity_cli.video.sources import expand_sources

    paths = expand_sources(videos)
    with (
        progress_report(quiet=quiet) as report,
        own.embedding(lengths, machine, report, may_ask=not (json or quiet)) as (predictor, embed),
    ):
        embedded = embed(paths, None, None)
    calibration = predictor.description.calibration
    rule = calibration.rule if calibration else None
    moments = rank_moments(
        embedded,
        most=own.count,
        most_per_video=per_video,
        max_ood_score=rule.max_ood_score if rule else None,
    )
    own.give(moments, title="Worth labelling next", value="worth", json=json, quiet=quiet)
