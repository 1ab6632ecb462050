"""Checkpoints of a run: the best one, also across resumes, and always the last one."""

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint that remembers the best checkpoint of a resumed run.

    A resumed run writes into a folder of its own. Lightning then forgets which checkpoint was best
    before, and would end with a worse one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score and path, wherever that checkpoint lies."""
        if Path(state_dict.get("best_model_path") or ".").is_file():
            state_dict = {**state_dict, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


def last_checkpoint() -> ModelCheckpoint:
    """Writes `last.ckpt` after every epoch.

    `save_last` of Lightning 2.6 does so only in epochs whose checkpoint is among the best.
    """
    return ModelCheckpoint(filename="last", monitor=None, enable_version_counter=False)
