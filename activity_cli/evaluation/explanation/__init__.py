"""Why a model predicts a label: which frames and regions, and what the LSTM did."""
