"""Which frames, which pixels and which parts of the network decided about a video.

values       what an explanation consists of
importance   how much each frame speaks for a label
heatmaps     where in the pictures that comes from
gates        what the LSTM let in, kept and gave out
words        all of it in a sentence
explainer    a video and a model -> an explanation
"""
