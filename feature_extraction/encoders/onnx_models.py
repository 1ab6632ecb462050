"""The kinds ``onnx-image`` and ``onnx-text``: an ONNX file, and the preprocessing beside it.

Shapes: b inputs, N tokens, d channels, H x W places.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from feature_extraction.encoders.image_encoders import ImageEncoder, pooled_places
from feature_extraction.encoders.model_files import ModelFiles, damaged
from feature_extraction.encoders.text_encoders import TextEncoder, pooled_tokens
from feature_extraction.encoders.text_preparation import LongTexts
from feature_extraction.errors import FeatureError
from feature_extraction.extras import extra_library

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FILE = "model.onnx"
# What exporters call a vector of the whole input; of others the first output is taken.
_VECTORS = ("image_embeds", "text_embeds", "sentence_embedding", "pooler_output")
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


class OnnxImage(ImageEncoder):
    """An image model as ``model.onnx``, beside its ``preprocessor_config.json``.

    Args:
        output: Name of the output to take; None: the vector of the whole image by one of its
            usual names, or else the first output.
        pooling: Of an output of tokens or places: their mean or maximum, or the first token.
    """

    kind = "onnx-image"
    needs = (_FILE, "preprocessor_config.json")

    def __init__(
        self, output: str | None = None, pooling: Literal["mean", "max", "cls"] = "mean"
    ) -> None:
        self._output = output
        self.pooling = pooling

    def load(self, files: ModelFiles) -> None:
        """Load the file and the preprocessing.

        Raises:
            FeatureError: onnxruntime is not there, or the files cannot be used.
        """
        from feature_extraction.encoders.loading import load_image_processor

        self.files = files
        self._session = _Session(files, self.device, self.dtype, self._output)
        self.processor = load_image_processor(files)
        self.dim = self._encode_blank_images()

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The chosen output, pooled where it is no vector."""
        hidden = self._session(inputs)
        return pooled_places(hidden, self.pooling, self.files.name, has_class=True, before=0)


class OnnxText(TextEncoder):
    """A text model as ``model.onnx``, beside its tokenizer and ``config.json``.

    Args:
        output: Name of the output to take; None: the vector of the whole text by one of its usual
            names, or else the first output.
        pooling: Of an output of tokens: ``mean``, ``max``, ``cls`` or ``last``, without padding.
        max_length: See ``TextEncoder``.
        long_texts: See ``TextEncoder``.
    """

    kind = "onnx-text"
    needs = (_FILE, "config.json", "tokenizer.json")
    pads_with_end = True

    def __init__(
        self,
        output: str | None = None,
        pooling: Literal["mean", "max", "cls", "last"] = "mean",
        max_length: int | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        super().__init__(max_length, long_texts)
        self._output = output
        self.pooling = pooling

    def load_model(self, files: ModelFiles) -> tuple[Any, int]:
        """Load the file; returns the configuration beside it, and most tokens.

        Raises:
            FeatureError: onnxruntime is not there, or the files cannot be used.
        """
        from feature_extraction.encoders.loading import load_config

        self.files = files
        self._session = _Session(files, self.device, self.dtype, self._output)
        config = load_config(files)
        limit = getattr(config, "max_position_embeddings", None)
        return config, limit if isinstance(limit, int) and limit > 0 else 2**31

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The chosen output, pooled where it is no vector."""
        hidden = self._session(inputs)
        mask = inputs["attention_mask"]
        return hidden if hidden.ndim == 2 else pooled_tokens(hidden, mask, self.pooling)


class _Session:
    """An ONNX file that runs on one device.

    Args:
        files: The model's files.
        device: Where it runs.
        dtype: What it is asked to compute in.
        output: Name of the output to take, or None.

    Raises:
        FeatureError: It cannot be loaded, or has no such output.
    """

    def __init__(
        self,
        files: ModelFiles,
        device: "torch.device",
        dtype: "torch.dtype",
        output: str | None,
    ) -> None:
        import torch

        onnxruntime = extra_library("onnxruntime", "export", "an ONNX file")
        if dtype != torch.float32:
            raise FeatureError(
                f"precision is {str(dtype).removeprefix('torch.')} for an ONNX file",
                expected="float32: the file itself says what it computes in",
                fix="leave the precision out, or export the model in half precision",
            )
        wanted = ["CPUExecutionProvider"]
        if device.type == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise FeatureError(
                    "this onnxruntime does not run on CUDA",
                    expected="onnxruntime-gpu",
                    fix="pip install onnxruntime-gpu, or choose the device cpu",
                )
            wanted = ["CUDAExecutionProvider", *wanted]
        path = files.path(_FILE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            # Of its bytes: it can read no other file, which the content key would not hold.
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, wanted)
        except Exception as error:  # damaged files fail in many ways
            raise damaged(str(path.parent), error) from error
        names = [one.name for one in self._session.get_outputs()]
        usual = [name for name in _VECTORS if name in names]
        self._output = output or (usual or names)[0]
        if self._output not in names:
            raise FeatureError(
                f"{files.name} has no output {output!r}",
                expected=" or ".join(names),
                fix="choose one of these, or leave output out",
            )
        self._name = files.name
        self._inputs = {one.name: one.type for one in self._session.get_inputs()}

    def __call__(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Run it.

        Raises:
            FeatureError: It takes other inputs than the preprocessing gives.
            ValueError: It takes inputs of another shape.
        """
        import torch

        given = dict(inputs)
        if "token_type_ids" in self._inputs and "input_ids" in given:
            given["token_type_ids"] = torch.zeros_like(given["input_ids"])
        lacking = [name for name in self._inputs if name not in given]
        if lacking:
            raise FeatureError(
                f"{self._name} takes {lacking[0]!r}, which the preprocessing does not give",
                expected=f"inputs among {', '.join(given)}",
                fix="export the model with inputs of these names",
            )
        arrays: dict[str, Any] = {
            name: given[name].cpu().numpy().astype(_TYPES[kind], copy=False)
            for name, kind in self._inputs.items()
        }
        try:
            (output,) = self._session.run([self._output], arrays)
        except Exception as error:  # onnxruntime has error classes of its own
            raise ValueError(str(error).splitlines()[0]) from error
        return torch.from_numpy(np.asarray(output, np.float32)).to(
            next(iter(inputs.values())).device
        )
