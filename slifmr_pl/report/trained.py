"""A trained model with the data that it was trained on: what the page looks at.

U = users, I = items, d = embedding size, k = length of a list.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.fingerprints import part_fingerprints
from slifmr_pl.data.interactions import UserItems
from slifmr_pl.errors import RunError
from slifmr_pl.models.base import RecommenderModule, load_model
from slifmr_pl.report.html.item_cards import ItemCards
from slifmr_pl.report.inspection.inspect import Inspection, inspect
from slifmr_pl.report.run import Run
from slifmr_pl.runs.run_data import run_data

Integers = npt.NDArray[np.int64]
LIST = 20  # items of a recommendation that are counted
_USERS = 4096  # users that are ranked for at a time


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """The best checkpoint of a run, and its data.

    Attributes:
        module: With the graphs that its metric was measured with.
        data: Users, items, parts and triples, as they were trained on.
        findings: What was found in the data as they are, before the run made them worse.
        cards: Titles and pictures of the items.
        masks: Which known items the test left out of the ranking.
        known: These items, of each user.
    """

    module: RecommenderModule
    data: RecommendationData
    findings: Inspection
    cards: ItemCards
    masks: str
    known: UserItems

    @cached_property
    def views(self) -> dict[str, Tensor]:
        """The items' views, float32 [I, d] each, as far as the model has several."""
        with torch.no_grad():
            return {name: view.float().cpu() for name, view in self.module.item_views().items()}

    @cached_property
    def lists(self) -> Integers:
        """The items ranked best for each user, as in the test: int64 [U, k], -1 where none."""
        n_users = len(self.data.users)
        ranker = self.module.ranker(LIST)
        lists = []
        for start in range(0, n_users, _USERS):
            users = np.arange(start, min(start + _USERS, n_users))
            rows = map(torch.from_numpy, (users, *self.known.select(users)))
            lists.append(ranker.recommend(*rows).indices)
        result: Integers = torch.cat(lists).numpy()
        return result

    @cached_property
    def relevant(self) -> UserItems:
        """The test items of each user."""
        return UserItems.of(len(self.data.users), self.data.test)

    @cached_property
    def history(self) -> UserItems:
        """The training items of each user."""
        return UserItems.of(len(self.data.users), self.data.train)

    @cached_property
    def popularity(self) -> Integers:
        """Training interactions of each item, int64 [I]."""
        return np.bincount(self.data.train.items, minlength=len(self.data.items))

    def is_hit(self, user: int) -> npt.NDArray[np.bool_]:
        """Which entries of a user's list are test items, bool [k]."""
        start, stop = self.relevant.offsets[user : user + 2]
        return np.isin(self.lists[user], self.relevant.items[start:stop])


def load_trained(run: Run, root: Path | None) -> TrainedRun:
    """Loads the best checkpoint of a run and its data.

    Args:
        run: With settings and record.
        root: Where the data folder is now; None where the configuration says.

    Raises:
        UserFacingError: Something is missing, damaged, or has changed since.
    """
    if run.settings is None or run.record is None or run.record["best"] is None:
        raise RunError(
            "the run names no best checkpoint",
            expected="config.yaml and run.json of a run that reached its first validation",
            fix="train further, or take another run",
            path=run.folder,
        )
    datamodule = run_data(run.settings, run.folder, root)
    module = load_model(run.folder / run.record["best"]["checkpoint"])
    findings, data = inspect(datamodule).findings, datamodule.data
    recorded = (run.record["data"] or {}).get("parts")
    present = part_fingerprints(data)
    if recorded != present:
        changed = [name for name in present if (recorded or {}).get(name) != present[name]]
        raise RunError(
            f"the data have changed since the training: {', '.join(changed)}",
            expected="the data that the run was trained on",
            fix="restore them, or give their folder with --data.root PATH",
            path=datamodule.root,
        )
    masks = datamodule.test_masks if run.evaluation is None else run.evaluation.masks
    return TrainedRun(
        module,
        data,
        findings,
        ItemCards(data.items, data.item_table, datamodule.root),
        masks,
        UserItems.of(len(data.users), *datamodule.known_in_test(masks)),
    )
