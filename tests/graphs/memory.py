"""The memory that tensors hold while some code runs."""

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """Records the most bytes that results of operations hold at once, as `peak`.

    Args:
        *operands: Tensors that are there already and do not count.
    """

    def __init__(self, *operands: Tensor) -> None:
        super().__init__()
        self._operands = {operand.untyped_storage().data_ptr() for operand in operands}
        self._holders: Counter[int] = Counter()
        self._now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._hold(leaf)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._operands or not size:
            return
        if not self._holders[address]:
            self._now += size
            self.peak = max(self.peak, self._now)
        self._holders[address] += 1
        weakref.finalize(tensor, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            self._now -= size
