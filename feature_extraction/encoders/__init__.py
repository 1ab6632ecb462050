"""Frozen encoders: what they are, where their files lie, how they run.

`encoder.py` is the contract of a kind. The modules below hold the kinds of this package, on
transformers (`pretrained.py`); `hidden_layers.py` gives them what is inside a model. `spec.py` says
which one with which options, `model_files.py` what identifies its files and `source_code.py` its
code, `devices.py` loads it.
"""

from feature_extraction.encoders import (
    audio_models,
    efficientnet_lite,
    image_encoders,
    image_models,
    joint_models,
    onnx_models,
    text_encoders,
    text_models,
    timm_models,
)

# Their kinds have short names once they are loaded.
__all__ = [
    "audio_models",
    "efficientnet_lite",
    "image_encoders",
    "image_models",
    "joint_models",
    "onnx_models",
    "text_encoders",
    "text_models",
    "timm_models",
]
