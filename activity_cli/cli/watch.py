"""`activity watch`: name actions in live video as they happen."""

import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.predict_options import LengthOptions, ModelOptions
from activity_cli.cli.progress import progress_report, stop_on_signals
from activity_cli.predict.live.settings import EventSettings, SourceSettings, WatchSettings
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from activity_cli.model.folder import ModelDescription
    from activity_cli.predict.live.watching import LiveModel

_PICTURE_WIDTH = 640


@dataclass(frozen=True, kw_only=True)
class LiveWindowOptions(LengthOptions):
    """Windows over live video."""

    smooth: float | None = setting(
        None, at_least=0, derived="a stride", metavar="SECONDS", rare=True
    )
    """Seconds over which scores are averaged."""
    max_delay: float | None = setting(
        None, above=0, derived="3 strides, at least 2", metavar="SECONDS", rare=True
    )
    """Scores that come later than this many seconds are not reported."""


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A camera's number (0), an RTSP or HTTP address, or a file."
        ),
    ],
    *,
    own: ModelOptions,
    reject: options.RejectByModel = None,
    events: EventSettings,
    show: Annotated[
        bool, typer.Option("--show", help="Show the picture in a window; q closes it.")
    ] = False,
    reading: SourceSettings,
    lengths: LiveWindowOptions,
    engine: options.EngineOptions,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recognize actions in live video.

    On a pipe it prints one JSON line per window and event: activity watch 0 | jq 'select(.event)'.
    A camera or stream that is lost is tried again, less and less often. A file is read while it
    grows, if it is .mkv or .ts; an .mp4 cannot be read before it is finished. Ctrl-C ends with a
    summary.

    Example:  activity watch 0 --model surveillance-fight --alert fight --run 'notify-send Fight'
    """
    from activity_cli.predict.live.events import EventFound, EventHook, split_command
    from activity_cli.predict.live.source import parse_source
    from activity_cli.predict.live.watching import Watch
    from activity_cli.report.overlay.live_window import open_window
    from activity_cli.report.terminal.live import LiveView, to_json

    what = parse_source(source)
    what.check_exists()
    command = split_command(events.run)
    with stop_on_signals(signal.SIGINT, signal.SIGTERM) as stop:
        model = own.choose(may_ask=not (json or quiet))
        loaded = _load_model(model, own, engine, reject, quiet=quiet)
        settings = _watch_settings(loaded.description, reading, events, lengths, show=show)
        watched = Watch(what, loaded, settings, stop=stop)
        view = LiveView(
            what.name,
            watched.summary,
            has_alerts=bool(events.alert),
            as_json=json,
            quiet=bool(quiet),
            in_video_time=not what.is_live,
        )
        hook = EventHook(command, view.note)
        try:
            with open_window(what.name, wanted=show) as show_picture, view, hook:
                for message in watched.run():
                    view.show(message)
                    if isinstance(message, EventFound) and message.event.kind == "start":
                        hook.start(to_json(message) | {"source": what.name})
                    if not show_picture(message):
                        stop.set()
        except BrokenPipeError:
            # Python would report it once more when it flushes stdout at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _load_model(
    model: str, own: ModelOptions, engine: options.EngineOptions, reject: str | None, *, quiet: int
) -> "LiveModel":
    """Load the model, with the rule of --reject."""
    from activity_cli.predict.live.watching import load_live_model
    from activity_cli.predict.rejection import read_rule
    from activity_cli.report.terminal.console import show_model

    with progress_report(quiet=quiet) as report:
        config = replace(
            engine.predict_config(report.note),
            labels=own.selection(),
            trust_model=own.trust_model,
        )
        loaded = load_live_model(model, config)
        if own.model is None:
            report.note(show_model(loaded.description, is_default=True).plain)
        rule = read_rule(reject, loaded.description, gives_ood_score=loaded.gives_ood_score)
        if rule is None:
            return loaded
        report.note(f"Rejected as unknown: {rule}.")
        return replace(loaded, rule=rule)


def _watch_settings(
    model: "ModelDescription",
    reading: SourceSettings,
    events: EventSettings,
    lengths: LiveWindowOptions,
    *,
    show: bool,
) -> WatchSettings:
    """Return the settings of a watch, with the windows that suit the model by default."""
    windows = model.windows(window_seconds=lengths.window, stride_seconds=lengths.stride)
    return WatchSettings(
        windows=windows,
        source=reading,
        events=events,
        smooth_seconds=windows.stride_seconds if lengths.smooth is None else lengths.smooth,
        max_delay_seconds=lengths.max_delay,
        picture_width=_PICTURE_WIDTH if show else 0,
    )
