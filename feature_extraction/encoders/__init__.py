"""Frozen encoders: what they are, where their files lie, how they run.

`encoder.py` is the contract of a kind; `image_encoders.py` and `text_encoders.py` hold the kinds of
this package, on transformers (`pretrained.py`). `spec.py` says which one with which options,
`model_files.py` what identifies its files and `source_code.py` its code, `devices.py` loads it.
"""
