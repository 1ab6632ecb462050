"""Features of the items in a peer, with a linear layer each.

I items, d embedding size.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
from slifmr_pl.nn.propagation import rows_of


def required_features(model: str, inputs: ModelInputs) -> Mapping[str, ItemFeatures]:
    """The features of the modalities.

    Raises:
        ConfigError: If there are none.
    """
    if not inputs.features:
        raise ConfigError(
            f"{model} without item features",
            expected="at least one modality",
            fix="set data.modalities, or take a model without: configs/model/lightgcn_bpr.yaml",
        )
    return inputs.features


class ProjectedFeatures(nn.Module):
    """W_m x_m + b_m of each modality; x_m is zero for the items that lack it.

    Args:
        features: By modality.
        dim: d.
        trained: Whether x_m are parameters that begin at the features, or stay as they are.
        kept: Whether features that stay as they are travel in checkpoints: needed where the
            representations depend on them.
    """

    def __init__(
        self, features: Mapping[str, ItemFeatures], dim: int, *, trained: bool, kept: bool = False
    ) -> None:
        super().__init__()
        self.names = list(features)
        self.projections = nn.ModuleDict(
            {name: nn.Linear(one.values.shape[1], dim) for name, one in features.items()}
        )
        for number, (values, present) in enumerate(features.values()):
            known = values * present.unsqueeze(1)
            if trained:
                self.register_parameter(f"table_{number}", nn.Parameter(known))
            else:
                self.register_buffer(f"table_{number}", known, persistent=kept)

    def forward(self, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Projected features float32 [I, d] by modality, or [r, d] of rows int64 [r]."""
        return {name: self._projected(number, rows) for number, name in enumerate(self.names)}

    def _projected(self, number: int, rows: Tensor | None) -> Tensor:
        table, project = getattr(self, f"table_{number}"), self.projections[self.names[number]]
        if rows is None or 2 * len(rows) >= len(table):  # the same; copying most rows takes longer
            return rows_of(project(table), rows)
        projected: Tensor = project(rows_of(table, rows))
        return projected
