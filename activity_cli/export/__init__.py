"""Models as files that other programs run: written, checked against torch, and read back.

signature   what an exported graph takes and gives
graphs      a model as torch modules and programs, from uint8 frames to scores
formats     the programs as files of each format
quantize    8-bit integers for the CNN
metadata    what is written into every file, and how it is read
exported    reading exports and running them, each in its own runtime (runners/)
gate        every export against torch, on clips
readme      the README beside every export
exporting   all of it in order
"""
