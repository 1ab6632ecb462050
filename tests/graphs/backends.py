"""Runs a test on each library that the sparse product can go through."""

from importlib.util import find_spec

import pytest

BACKENDS = [
    "csr",
    pytest.param(
        "torch_sparse",
        marks=pytest.mark.skipif(
            find_spec("torch_sparse") is None,
            reason="torch_sparse cannot be imported: pip install 'slifmr-pl[sparse]'",
        ),
    ),
]
every_backend = pytest.mark.parametrize("backend", BACKENDS)
