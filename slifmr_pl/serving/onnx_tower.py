"""The scoring tower as ONNX: rows of users in, scores of all items out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slifmr_pl.config.optional import library

OPSET = 17
_TOLERANCE = 1e-4  # of the largest score: sums in another order
_CHECKED_USERS = 64


def write_tower(users: Tensor, items: Tensor, path: Path) -> dict[str, Any]:
    """Writes the tower and runs it with onnxruntime against torch.

    Args:
        users: u* float32 [U, d].
        items: i* float32 [I, d].
        path: File.

    Returns:
        `input`, `output`, and `largest_difference` from torch's scores.

    Raises:
        ConfigError: If the extra `export` is not installed.
        RuntimeError: If onnxruntime computes something else.
    """
    onnx, onnxruntime = (
        library(name, "export", "the ONNX file", "leave --onnx out")
        for name in ("onnx", "onnxruntime")
    )
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["users", "user_rows"], ["queries"]),
            helper.make_node("MatMul", ["queries", "items"], ["scores"]),
        ],
        "scoring",
        [helper.make_tensor_value_info("user_rows", kind.INT64, ["batch"])],
        [helper.make_tensor_value_info("scores", kind.FLOAT, ["batch", len(items)])],
        initializer=[
            numpy_helper.from_array(users.numpy(), "users"),
            numpy_helper.from_array(np.ascontiguousarray(items.numpy().T), "items"),
        ],
    )
    # The oldest version that has all of this; runtimes refuse newer ones than they know.
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="slifmr_pl",
    )
    # Protocol buffers end at 2 GB; beyond, the tables go into a file beside it.
    large = 4 * (users.numel() + items.numel()) > 1 << 30
    onnx.save(model, path, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(path)

    rows = torch.linspace(0, len(users) - 1, min(len(users), _CHECKED_USERS)).long()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"user_rows": rows.numpy()})
    expected = users[rows] @ items.T
    difference = float((torch.from_numpy(scores) - expected).abs().max())
    if not difference <= _TOLERANCE * float(expected.abs().max().clamp_min(1e-6)):
        raise RuntimeError(f"onnxruntime's scores differ from torch's by {difference:g}")
    return {"input": "user_rows", "output": "scores", "largest_difference": difference}
