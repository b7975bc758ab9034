"""What `activity find` and `activity next` share: options, features of videos, output."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from activity_cli.cli import options
from activity_cli.cli.predict_options import LengthOptions, ModelOptions
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from activity_cli.cli.progress import ProgressReport
    from activity_cli.predict.moments import EmbeddedVideo, Moment
    from activity_cli.predict.predictor import Predictor

Embed = Callable[[Sequence[Path], float | None, float | None], "list[EmbeddedVideo]"]
"""From videos, or the piece of one between two times, to their windows."""


@dataclass(frozen=True, kw_only=True)
class MomentOptions(ModelOptions):
    """The model, how many moments are chosen, and where they go."""

    count: int = setting(20, at_least=1)
    """Moments to give, at most."""
    output: Path | None = setting(None, metavar="FILE")
    """File for a row per moment: .csv, .jsonl or .parquet."""
    storyboard: Path | None = setting(None, metavar="FILE")
    """Picture of the moments, .png."""

    def check(self, *, overwrite: bool) -> None:
        """Raise an OutputError if a file cannot be written as asked, before anything is read."""
        from activity_cli.predict.results import check_rows_file
        from activity_cli.report.figures.moments_sheet import check_sheet

        if self.output is not None:
            check_rows_file(self.output, overwrite=overwrite)
        if self.storyboard is not None:
            check_sheet(self.storyboard, overwrite=overwrite)

    def give(
        self, moments: "Sequence[Moment]", *, title: str, value: str, json: bool, quiet: int
    ) -> None:
        """Write the files, then print the moments."""
        from activity_cli.predict.moments import COLUMNS
        from activity_cli.predict.results import write_rows
        from activity_cli.report.figures.moments_sheet import save_moments
        from activity_cli.report.terminal.moments import moment_rows, show_moments

        rows = list(moment_rows(moments))
        if self.output is not None:
            write_rows(self.output, COLUMNS, rows)
        if self.storyboard is not None and moments:
            save_moments(moments, self.storyboard, title=title, value=value)
        options.print_result(
            rows, lambda: show_moments(moments, title=title, value=value), json=json
        )
        for name, path in (("Moments", self.output), ("Storyboard", self.storyboard)):
            if path is not None:
                options.print_note(f"{name}: {path}", quiet=quiet)

    @contextmanager
    def embedding(
        self,
        lengths: LengthOptions,
        machine: options.MachineOptions,
        report: "ProgressReport",
        *,
        may_ask: bool,
    ) -> "Iterator[tuple[Predictor, Embed]]":
        """Load the model; give it and what turns videos into windows with features."""
        from activity_cli.features.extraction import ClipRequest
        from activity_cli.predict.moments import EmbeddedVideo, embed_videos
        from activity_cli.predict.predictor import WindowConfig, load_predictor

        config = replace(
            machine.predict_config(report.note),
            labels=self.selection(),
            windows=WindowConfig(window_seconds=lengths.window, stride_seconds=lengths.stride),
        )
        model = self.choose(may_ask=may_ask)
        options.check_model(model)
        with closing(load_predictor(model, config)) as predictor:

            def embed(
                paths: Sequence[Path], start: float | None, end: float | None
            ) -> list[EmbeddedVideo]:
                requests = [
                    ClipRequest(path=path, start_seconds=start, end_seconds=end) for path in paths
                ]
                found = []
                for number, one in enumerate(embed_videos(predictor, requests), 1):
                    report("read", number, len(requests))
                    if isinstance(one, EmbeddedVideo):
                        found.append(one)
                    else:
                        report.warn(f"{one.path}: {one.status}: {one.reason}")
                return found

            yield predictor, embed
