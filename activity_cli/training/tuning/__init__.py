"""The search for settings: what may vary, what a candidate is worth, what searching is worth.

space -> search (Optuna asks, folds answer) -> nested (the same among other clips) -> report
"""
