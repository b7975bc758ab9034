"""Metrics, intervals, baselines, checks and explanations of models."""
