"""`activity watch`: name actions in live video as they happen."""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.interrupts import stop_on_signals
from activity_cli.cli.live_options import EventOptions, SourceOptions
from activity_cli.cli.predict_options import LengthOptions
from activity_cli.cli.progress import progress_report
from activity_cli.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from activity_cli.predict.live.model import LiveModel
    from activity_cli.predict.live.settings import WatchSettings

EXAMPLE = "activity watch 0 --alert fight --run 'notify-send Fight'"

_PICTURE_WIDTH = 640


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A camera's number (0), an RTSP or HTTP address, or a file."
        ),
    ],
    *,
    reading: SourceOptions,
    events: EventOptions,
    lengths: LengthOptions,
    engine: options.EngineOptions,
    model: Annotated[str, typer.Option(help=options.MODEL_HELP)] = DEFAULT_MODEL,
    smooth: Annotated[
        float | None,
        typer.Option(help="Seconds over which scores are averaged.", show_default="a stride"),
    ] = None,
    max_delay: Annotated[
        float | None,
        typer.Option(
            help="Scores that come later than this many seconds are not given.",
            show_default="3 strides, at least 2",
        ),
    ] = None,
    reject: options.Reject = "off",
    show: Annotated[
        bool, typer.Option("--show", help="Show the picture in a window; q closes it.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recognize actions in live video.

    On a pipe one JSON line per window and event: activity watch 0 | jq 'select(.event)'. A camera
    or stream that is lost is tried again, less and less often. A file is read on as it grows, if
    it is .mkv or .ts; an .mp4 cannot be read before it is finished. Ctrl-C ends with a summary.
    """
    from activity_cli.predict.live.event_hook import EventHook
    from activity_cli.predict.live.messages import Happened
    from activity_cli.predict.live.model import load_live_model
    from activity_cli.predict.live.source import parse_source
    from activity_cli.predict.live.watching import Watch
    from activity_cli.predict.rejection import read_rule
    from activity_cli.report.overlay.live_window import open_window
    from activity_cli.report.terminal.live_json import event_json
    from activity_cli.report.terminal.live_view import LiveView

    what = parse_source(source)
    what.check_exists()
    with stop_on_signals() as stop:
        with progress_report(quiet=quiet) as report:
            loaded = load_live_model(model, engine.predict_config(report.note))
            rule = read_rule(reject, loaded)
            if rule is not None:
                report.note(f"Called unknown: {rule}.")
                loaded = replace(loaded, rule=rule)
        watched = Watch(
            what,
            loaded,
            _settings(loaded, lengths, reading, events, smooth, max_delay=max_delay, show=show),
            stop=stop,
        )
        view = LiveView(
            what.name,
            watched.summary,
            has_alerts=bool(events.alert),
            as_json=json,
            quiet=quiet,
        )
        hook = EventHook(events.run, view.note)
        try:
            with open_window(what.name, wanted=show) as window, view, hook:
                for message in watched.run():
                    view.show(message)
                    if isinstance(message, Happened) and message.event.kind == "start":
                        hook.start(event_json(message) | {"source": what.name})
                    if not window.update(message):
                        stop.set()
        except BrokenPipeError:
            # Python would complain once more when it flushes stdout at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _settings(
    model: "LiveModel",
    lengths: LengthOptions,
    reading: SourceOptions,
    events: EventOptions,
    smooth: float | None,
    *,
    max_delay: float | None,
    show: bool,
) -> "WatchSettings":
    from activity_cli.predict.live.settings import WatchSettings
    from activity_cli.video.sampling import choose_windows

    windows = choose_windows(
        model.description.clip.num_frames,
        model.description.data.get("clip_seconds"),
        window_seconds=lengths.window,
        stride_seconds=lengths.stride,
    )
    return WatchSettings(
        windows=windows,
        events=events.settings(),
        smooth_seconds=windows.stride_seconds if smooth is None else smooth,
        max_delay_seconds=max_delay,
        for_seconds=reading.for_seconds,
        idle_seconds=reading.idle_seconds,
        max_reconnects=reading.max_reconnects,
        open_timeout_seconds=reading.open_timeout,
        read_timeout_seconds=reading.read_timeout,
        num_threads=reading.decoder_threads,
        picture_width=_PICTURE_WIDTH if show else 0,
    )
