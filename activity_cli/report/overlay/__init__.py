"""A video and what was found in it -> things to look at: a video, a picture, cut pieces."""
