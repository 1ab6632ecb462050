"""The contract of a model, and recommenders to compare SLIF-MR with.

The contract is `base.RecommenderModule`; the peers are written on it, each one file that is read in
a minute. Those that are the network of SLIF-MR with parts switched off are configurations of it.
`slifmr fit --model Ease` trains one as it trains SLIF-MR.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slifmr_pl.models.bm3 import Bm3
    from slifmr_pl.models.ease import Ease
    from slifmr_pl.models.freedom import Freedom
    from slifmr_pl.models.item_knn import ItemKnn
    from slifmr_pl.models.kgin import Kgin
    from slifmr_pl.models.lattice import Lattice
    from slifmr_pl.models.mgcn import Mgcn
    from slifmr_pl.models.most_popular import MostPopular
    from slifmr_pl.models.vbpr import Vbpr
    from slifmr_pl.models.xsimgcl import XSimGcl

__all__ = [
    "Bm3",
    "Ease",
    "Freedom",
    "ItemKnn",
    "Kgin",
    "Lattice",
    "Mgcn",
    "MostPopular",
    "Vbpr",
    "XSimGcl",
]

_MODULES = {
    "Bm3": "bm3",
    "Ease": "ease",
    "Freedom": "freedom",
    "ItemKnn": "item_knn",
    "Kgin": "kgin",
    "Lattice": "lattice",
    "Mgcn": "mgcn",
    "MostPopular": "most_popular",
    "Vbpr": "vbpr",
    "XSimGcl": "xsimgcl",
}


def __getattr__(name: str) -> Any:
    """Imports a model when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
