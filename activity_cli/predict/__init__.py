"""Videos + model -> results: one video, long videos, batches, live video, clusters."""
