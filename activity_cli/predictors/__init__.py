"""What scores videos: a model folder in an engine, or an exported file in its runtime."""
