"""The built-in readers, a module each, and what is read, imported and exported with them.

A format of your own is a subclass of ``slifmr_pl.data.reader.Reader``, and has to be listed
nowhere. Formats of other recommenders can be written, too, by their module's ``export``.
"""

from slifmr_pl.data.formats.amazon import AmazonReader
from slifmr_pl.data.formats.hetrec import HetRecReader
from slifmr_pl.data.formats.kgat import KGATReader
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.data.formats.mmrec import MMRecReader
from slifmr_pl.data.formats.movielens import MovieLensReader
from slifmr_pl.data.formats.recbole import RecBoleReader
from slifmr_pl.data.formats.table import TableReader
from slifmr_pl.data.reader import Reader

BUILT_IN: dict[str, type[Reader]] = {
    "layout": LayoutReader,
    "recbole": RecBoleReader,
    "mmrec": MMRecReader,
    "kgat": KGATReader,
    "movielens": MovieLensReader,
    "hetrec": HetRecReader,
    "amazon": AmazonReader,
    "table": TableReader,
}
"""The built-in readers by their names; what each is, the first line of its docstring says."""
