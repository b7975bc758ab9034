"""Hyperparameter search for `activity tune`: Optuna proposes, cross-validation judges.

space     what varies, read from the settings dataclasses
data      labelled clips, their features on disk, and the folds of a search
folds     one fold of one candidate, fitted in worker processes
search    one Optuna study: propose, score fold by fold, prune, resume
run       a whole tuning, with nested cross-validation where it is asked for
folder    the folder in which a tuning resumes
"""
