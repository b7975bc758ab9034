"""Names what people do in video: OpenCV frames, a pretrained CNN, an LSTM."""

__version__ = "0.1.0"
