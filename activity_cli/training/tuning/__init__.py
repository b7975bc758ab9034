"""Hyperparameter search for `activity tune`: Optuna proposes, cross-validation scores."""
