"""Models as files for other programs: written, and kept only if they agree with torch.

exporting         the whole in order: convert, compare, keep
graphs            a model as torch modules and programs, from uint8 frames to scores
formats           the programs as files of each format
quantize          8-bit integers for the CNN
parity            compares every export with torch on clips
readme, example   the README beside every export
benchmark         measures engines and precisions, each in its process (benchmark_worker)

`predict.exported` reads exports back and runs them.
"""
