"""Recognizes human actions in video: OpenCV frames, a pretrained CNN, an LSTM."""

from typing import TYPE_CHECKING, Any

from activity_cli.version import __version__

if TYPE_CHECKING:
    from activity_cli.api import ActionModel, load_model

__all__ = ["ActionModel", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used (PEP 562), so that the package itself stays light."""
    if name in {"ActionModel", "load_model"}:
        from activity_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
