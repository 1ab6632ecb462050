"""How many parameters a model has, in a line."""

import logging
from typing import Any

from pytorch_lightning.callbacks import ModelSummary
from pytorch_lightning.utilities.model_summary.model_summary import get_human_readable_count

logger = logging.getLogger(__name__)


class ParameterSummary(ModelSummary):
    """Says how many parameters are trained, and in which parts of the model they are.

    `--trainer.callbacks+=RichModelSummary` shows Lightning's table in its place.
    """

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        *others: Any,
        **more: Any,
    ) -> None:
        """Says it.

        Args:
            summary_data: Columns of Lightning's table.
            total_parameters: Of the whole model.
            trainable_parameters: Those that are trained.
            *others: What else Lightning counts.
            **more: What else Lightning counts.
        """
        columns = dict(summary_data)
        counts = zip(columns["Name"], columns["Params"], strict=True)
        parts = ", ".join(f"{name} {size.strip()}" for name, size in counts if size.strip("0 -"))
        if not total_parameters:
            return
        frozen = total_parameters - trainable_parameters
        logger.info(
            "%s trained parameters%s%s",
            get_human_readable_count(trainable_parameters).strip(),
            f", {get_human_readable_count(frozen).strip()} fixed" if frozen else "",
            f": {parts}" if parts else "",
        )
