"""Names what people do in video: OpenCV frames, a pretrained CNN, an LSTM."""

from activity_cli.api import ActionModel, load_model

__version__ = "0.1.0"

__all__ = ["ActionModel", "__version__", "load_model"]
