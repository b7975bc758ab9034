"""A window with the live picture and its label, where there is a display."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import SettingsError, WorkerCrashError
from activity_cli.predict.live.events import Lost, Message, Scored, Tick
from activity_cli.video.capture import Frame

_KEYS_THAT_CLOSE = (ord("q"), 27)  # 27: Escape


@contextmanager
def open_window(title: str, *, wanted: bool) -> Iterator[Callable[[Message], bool]]:
    """Yield a function that shows a message and returns False once the user closed the window.

    Raise SettingsError if a window is wanted, but there is no display or OpenCV has no windows.
    """
    if not wanted:
        yield lambda _: True
        return
    # Tried in another process: without a display, OpenCV ends the process that opens a window.
    try:
        with WorkerPool(1) as pool:
            pool.call_within(20, _open_and_close)
    except WorkerCrashError:
        raise SettingsError(
            "--show needs a display, and there is none.",
            hint="Leave out --show, or run it in a desktop session.",
        ) from None
    import cv2

    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    label = ""

    def show(message: Message) -> bool:
        nonlocal label
        match message:
            case Scored():
                label = f"{message.label} {message.prediction.score:.0%}"
            case Lost():
                label = ""
            case Tick(picture=picture) if picture is not None:
                cv2.imshow(title, cv2.cvtColor(draw_label(picture, label), cv2.COLOR_RGB2BGR))
            case _:
                return True
        if cv2.waitKey(1) in _KEYS_THAT_CLOSE:
            return False
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 0

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


def draw_label(picture: Frame, label: str) -> Frame:
    """Return the picture (H, W, 3) RGB with a label on a dark strip at its lower edge."""
    import cv2

    if not label:
        return picture
    height = picture.shape[0]
    scale = max(height, 120) / 480
    strip = min(height, round(48 * scale))
    drawn = picture.copy()
    drawn[-strip:] = np.asarray(drawn[-strip:] * 0.3, np.uint8)
    text = label.encode("ascii", "replace").decode()  # OpenCV's fonts have only ASCII
    place = (round(14 * scale), height - round(15 * scale))
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(drawn, text, place, font, scale, white, max(1, round(2 * scale)), cv2.LINE_AA)
    return drawn


def _open_and_close() -> None:
    """Open a window for a moment, in a worker."""
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
