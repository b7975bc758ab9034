"""The training loop for any `TrainingTask`: the head on features, or CNN and head together."""
