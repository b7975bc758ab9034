"""What a watch says, as JSON objects: one line per window, and one per event of any kind."""

from datetime import datetime
from typing import Any

from activity_cli.predict.live.messages import (
    Connected,
    Happened,
    Late,
    Lost,
    Message,
    Moment,
    Scored,
    Tick,
    WatchSummary,
)


def to_json(message: Message) -> dict[str, Any] | None:
    """The object for a message; None for what is said only on screen."""
    match message:
        case Scored():
            scores = message.prediction.scores
            return _at(message.at) | {
                "label": message.label,
                "score": round(message.prediction.score, 4),
                "scores": {
                    label: round(float(score), 4)
                    for label, score in zip(message.prediction.labels, scores, strict=True)
                },
                "delay_seconds": round(message.delay_seconds, 3),
                "dropped": message.num_missing,
            }
        case Happened():
            return event_json(message)
        case Connected():
            return (
                {"event": "connected"}
                | _at(message.at)
                | {
                    "size": list(message.size),
                    "reconnects": message.num_reconnects,
                }
            )
        case Lost():
            return (
                {"event": "lost"}
                | _at(message.at)
                | {
                    "reason": message.error.message,
                    "retry_seconds": round(message.retry_seconds, 1),
                }
            )
        case Late():
            return (
                {"event": "late"}
                | _at(message.at)
                | {
                    "delay_seconds": round(message.delay_seconds, 3),
                    "late": message.num_late,
                }
            )
        case Tick():
            return None


def event_json(message: Happened) -> dict[str, Any]:
    """An event: its start says the score then, its end the highest one."""
    event = message.event
    return (
        {"event": event.kind}
        | _at(message.at)
        | {
            "label": event.label,
            "score" if event.kind == "start" else "peak_score": round(event.score, 4),
            "since_seconds": round(event.since_seconds, 3),
        }
    )


def summary_json(summary: WatchSummary, now: datetime) -> dict[str, Any]:
    """What came of the watch."""
    return {
        "event": "stopped",
        "time": _iso(now),
        "watched_seconds": round(summary.watched_seconds, 1),
        "windows": summary.num_windows,
        "late": summary.num_late,
        "dropped_share": round(summary.dropped_share, 4),
        "events": summary.num_events,
        "reconnects": summary.num_reconnects,
        "mean_delay_seconds": round(summary.mean_delay_seconds, 3),
        "max_delay_seconds": round(summary.max_delay_seconds, 3),
    }


def _at(moment: Moment) -> dict[str, Any]:
    return {"time": _iso(moment.time), "seconds": round(moment.seconds, 3)}


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
