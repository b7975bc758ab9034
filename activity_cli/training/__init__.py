"""Labelled features -> a fitted and saved model: one run, cross-validation, tuning."""
