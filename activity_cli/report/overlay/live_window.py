"""A window with the live picture and the label drawn into it, where there is a display."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import SettingsError, WorkerCrashError
from activity_cli.predict.live.messages import Lost, Message, Scored, Tick
from activity_cli.video.capture import Frame

_KEYS_THAT_CLOSE = (ord("q"), 27)  # 27: Escape


class PictureWindow(Protocol):
    """What the messages of a watch are shown in."""

    def update(self, message: Message) -> bool:
        """Show what there is to see; False once the user has closed the window."""
        ...


@contextmanager
def open_window(title: str, *, wanted: bool) -> Iterator[PictureWindow]:
    """A window for the time of a watch, or nothing where none is wanted.

    Raises:
        SettingsError: there is no display, or this OpenCV has no windows.
    """
    if not wanted:
        yield _NoWindow()
        return
    _check_display()
    import cv2

    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    try:
        yield _OpenWindow(title)
    finally:
        cv2.destroyAllWindows()


class _NoWindow:
    def update(self, message: Message) -> bool:
        del message
        return True


class _OpenWindow:
    def __init__(self, title: str) -> None:
        self._title = title
        self._label = ""

    def update(self, message: Message) -> bool:
        import cv2

        match message:
            case Scored():
                self._label = f"{message.label} {message.prediction.score:.0%}"
            case Lost():
                self._label = ""
            case Tick() if message.picture is not None:
                picture = draw_label(message.picture, self._label)
                cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            case _:
                return True
        if cv2.waitKey(1) in _KEYS_THAT_CLOSE:
            return False
        return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 0


def draw_label(picture: Frame, label: str) -> Frame:
    """The picture (H, W, 3) RGB with a label on a dark strip at its lower edge."""
    import cv2

    if not label:
        return picture
    height = picture.shape[0]
    scale = max(height, 120) / 480
    strip = min(height, round(48 * scale))
    drawn = picture.copy()
    drawn[-strip:] = np.asarray(drawn[-strip:] * 0.3, np.uint8)
    text = label.encode("ascii", "replace").decode()  # OpenCV's fonts know no more
    place = (round(14 * scale), height - round(15 * scale))
    thickness = max(1, round(2 * scale))
    white = (255, 255, 255)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(drawn, text, place, font, scale, white, thickness, cv2.LINE_AA)
    return drawn


def _check_display() -> None:
    """Try in a process of its own: where there is no display, what opens windows ends it."""
    hint = "Leave --show away, or run it in a desktop session."
    try:
        with WorkerPool(1) as pool:
            pool.call_within(20, _open_and_close)
    except WorkerCrashError:
        raise SettingsError("--show needs a display, and there is none.", hint=hint) from None


def _open_and_close() -> None:
    """Runs in a worker.

    Raises:
        SettingsError: this OpenCV has no windows.
    """
    import cv2

    try:
        cv2.namedWindow("activity")
        cv2.waitKey(1)
        cv2.destroyAllWindows()
    except cv2.error:
        raise SettingsError(
            "--show needs windows, which this OpenCV is built without.",
            hint="pip install opencv-python instead of opencv-python-headless.",
        ) from None
