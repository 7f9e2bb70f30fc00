"""Models that put pictures into words: BLIP, and taggers in ONNX.

Torch-free but for `blip.py`, which the server reaches by name once it is wanted.
"""
