"""Why a model predicts a label: which frames, which pixels, and what the LSTM did.

values       an explanation as data
attribution  evidence by frame: exact for the pooled head, integrated gradients for the LSTM;
             occlusion, attention and the LSTM's gates
heatmaps     Grad-CAM: evidence by image region
summary      an explanation in sentences
explainer    a video and a model -> an explanation
"""
