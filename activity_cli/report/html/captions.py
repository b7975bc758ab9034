"""The report of a captioner -> report.html."""

from pathlib import Path

import numpy as np

from activity_cli.common.files import write_text_atomically
from activity_cli.evaluation.captions import METRICS, TITLES
from activity_cli.report.captions import RATIO, CaptionReport
from activity_cli.report.html import environment, read_strips
from activity_cli.video.decoder_pool import AUTO_DECODERS, Decoders

_CLIPS = 6  # of each kind


def write_caption_report(
    data: CaptionReport, path: Path, *, decoders: Decoders = AUTO_DECODERS
) -> None:
    """Write the page, or raise an OutputError; the clips that it shows are decoded once more."""
    found = data.described
    order = np.argsort(-data.scores[0].cider, kind="stable").tolist()
    count = min(_CLIPS, max(1, len(order) // 3))
    best, worst = order[:count], order[::-1][:count]
    others = [row for row in order if row not in {*best, *worst}]
    some = np.random.default_rng(0).permutation(others)[:count].tolist()
    spans = {row: (found.samples[row], found.seconds[row]) for row in (*best, *worst, *some)}
    strips = read_strips(spans, decoders)
    cards = {
        row: {
            "sample": sample,
            "strip": strips[row],
            "caption": found.captions[row][0],
            "baselines": {TITLES[name]: said[row] for name, said in found.baselines.items()},
            "cider": float(data.scores[0].cider[row]),
            "address": sample.path.absolute().as_uri(),
        }
        for row, (sample, _) in spans.items()
    }
    page = (
        environment()
        .get_template("captions.html.j2")
        .render(
            data=data,
            metrics=METRICS,
            titles=TITLES,
            ratio=RATIO,
            sections={
                "best": ("Best sentences", [cards[row] for row in best]),
                "worst": ("Worst sentences", [cards[row] for row in worst]),
                "random": ("Random clips", [cards[row] for row in some]),
            },
        )
    )
    write_text_atomically(path, page)
