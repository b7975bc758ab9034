"""Training a captioner: word detectors, the decoder by epochs, one run, cross-validation."""
