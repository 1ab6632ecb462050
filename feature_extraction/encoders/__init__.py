"""Frozen encoders: what they are, where their files lie, how they run.

`encoder.py` is the contract of a kind; `image_encoders.py` and `text_encoders.py` hold the kinds of
this package, on transformers (`pretrained.py`). `spec.py` says which one with which options,
`model_files.py` what identifies its files and `source_code.py` its code, `devices.py` loads it.
"""

from feature_extraction.encoders import image_encoders, text_encoders

__all__ = ["image_encoders", "text_encoders"]  # whose kinds have short names once they are loaded
