"""The sequence classifier, its model folder, calibration and out-of-distribution score."""
