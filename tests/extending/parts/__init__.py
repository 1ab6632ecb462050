"""A plug-in: it imports the public names of the two packages, and nothing else of them."""

from tests.extending.parts.bought_together import BoughtTogether
from tests.extending.parts.gated_correlation import GatedCorrelation
from tests.extending.parts.popularity_debias import PopularityDebias

__all__ = ["BoughtTogether", "GatedCorrelation", "PopularityDebias"]
