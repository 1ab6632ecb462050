"""The LightningDataModule: data folder → features and graphs → batches.

It stands beside the LightningModule, since it joins two rooms: `data` and `graphs`.
"""

import logging
import math
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from jsonargparse import ArgumentError, ArgumentParser
from pytorch_lightning.utilities import rank_zero_warn

from feature_extraction import FeatureStore
from feature_extraction.extraction.config import ExtractionConfig
from slifmr_pl.data.batches import NO_ITEMS, EvalBatches, TrainBatches
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.features import ModalitySource, feature_stores
from slifmr_pl.data.formats.frames import raw_data
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.perturbations import Perturbations, perturbed
from slifmr_pl.data.readers import Format, RawData, read
from slifmr_pl.data.sampler import NegativeSampler
from slifmr_pl.data.selection import Selection
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.building import GraphBuilder
from slifmr_pl.graphs.inputs import ModelInputs
from slifmr_pl.graphs.neighbours import NeighbourSearch

logger = logging.getLogger(__name__)

_SAMPLED_USERS = 2048


def default_cache() -> Path:
    """`$SLIFMR_CACHE`, or `~/.cache/slifmr_pl`; keyed by content, so that all runs share it."""
    return Path(os.environ.get("SLIFMR_CACHE", Path.home() / ".cache" / "slifmr_pl"))


class SlifMrDataModule(pl.LightningDataModule):
    """Interactions, knowledge graph and item features of one data folder.

    Args:
        root: Data folder, in the own layout, as RecBole atomic files, or of MMRec or KGAT.
        format: Which of them; "auto" looks.
        filters: Which interactions count.
        split: How they are split.
        modalities: Sources of item features, by modality.
        use_knowledge: Whether to read the knowledge graph, where there is one.
        neighbours: k of the modality graphs.
        centre_features: Subtract the mean feature before neighbours are searched.
        neighbour_search: Exact or approximate search of the neighbours in the modality graphs.
        batch_size: Positives of a step, over all processes together.
        negatives: n, negatives of each positive.
        eval_batch_size: Users ranked at a time.
        test_masks: What `test` leaves out of the ranking: the training items of a user, or
            those of validation too.
        test_items: Which items compete in `test`, and whose interactions count: all, or those
            that are in no training interaction.
        perturbations: How training data are degraded, to measure robustness. The
            ranking masks the same items as without them.
        cache_dir: Where feature stores, neighbours and sorted triples are kept; default
            `$SLIFMR_CACHE` or `~/.cache/slifmr_pl`.
        extraction: How features are computed.
        memory_budget_mb: Working memory of the neighbour search, in MiB.
        seed: Seed of batches and negatives.
    """

    def __init__(
        self,
        root: str,
        format: Format = "auto",  # the option's name on the command line
        filters: FilterConfig = FilterConfig(),
        split: SplitConfig = SplitConfig(),
        modalities: dict[str, ModalitySource] | None = None,
        use_knowledge: bool = True,
        neighbours: int = 10,
        centre_features: bool = True,
        neighbour_search: NeighbourSearch = NeighbourSearch(),
        batch_size: int = 2048,
        negatives: int = 32,
        eval_batch_size: int = 1024,
        test_masks: Literal["train", "train+valid"] = "train+valid",
        test_items: Literal["all", "cold"] = "all",
        perturbations: Perturbations = Perturbations(),
        cache_dir: str | None = None,
        extraction: ExtractionConfig = ExtractionConfig(),
        memory_budget_mb: int = 256,
        seed: int = 2026,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.format = format
        self.filters = filters
        self.split = split
        self.modalities = modalities or {}
        self.use_knowledge = use_knowledge
        self.neighbours = neighbours
        self.centre_features = centre_features
        self.neighbour_search = neighbour_search
        self.batch_size = batch_size
        self.negatives = negatives
        self.eval_batch_size = eval_batch_size
        self.test_masks = test_masks
        self.test_items = test_items
        self.perturbations = perturbations
        self.cache = Path(cache_dir) if cache_dir else default_cache()
        self.extraction = extraction
        self.memory_budget_mb = memory_budget_mb
        self.seed = seed
        self.selection = Selection()  # of `predict`
        self._inputs: ModelInputs | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    __str__ = __repr__  # Lightning's own counts the rows of every loader

    @classmethod
    def from_frames(
        cls,
        interactions: Any,
        items: Any = None,
        kg: Any = None,
        links: Any = None,
        *,
        root: str = ".",
        **options: Any,
    ) -> Self:
        """Takes data frames of pandas, Polars or PyArrow in place of the files of a folder.

        Args:
            interactions: Frame with `user_id` and `item_id`; optional `rating`, `timestamp`,
                `split`.
            items: Frame with `item_id` and any text columns.
            kg: Frame with `head_id`, `relation_id`, `tail_id`.
            links: Frame with `item_id`, `entity_id`.
            root: Folder that picture paths and feature stores are relative to.
            **options: As of the constructor.

        Raises:
            DataError: Something is no frame, or a value is bad.
            TableError: A column is missing.
        """
        module = cls(root, **options)
        module._raw = raw_data(interactions, items, kg, links, Path(root))
        return module

    def prepare_data(self) -> None:
        """Fills the cache in one process: features, their neighbours, sorted triples."""
        if self.modalities or self.use_knowledge:
            _ = self.model_inputs

    def setup(self, stage: str) -> None:
        """Filters, splits and joins the data, and builds the static graphs, once."""
        if self._inputs is None:
            logger.info("%s", self.data.summary)
            self._inputs = self._builder.build(self.data, self.stores)
            vars(self).pop("_raw", None)  # all of the files; what is needed of them is in rows now
            pa.default_memory_pool().release_unused()  # Arrow would keep the space of the files
        part = {"fit": "valid", "validate": "valid", "test": "test"}.get(stage)
        if part is not None and not len(getattr(self.data, part)):
            raise DataError(
                f"the {part} part of the split is empty",
                expected=f"at least one {part} interaction",
                fix="change data.split or relax data.filters",
                path=self.root,
            )

    @cached_property
    def data(self) -> RecommendationData:
        """The data set: filtered, numbered, split and joined, and perturbed on request."""
        return perturbed(self.unperturbed, self.perturbations)

    @cached_property
    def unperturbed(self) -> RecommendationData:
        """The data set as it is."""
        return build_dataset(self._raw, self.filters, self.split, self.use_knowledge)

    @property
    def model_inputs(self) -> ModelInputs:
        """Graphs and features for the model."""
        self.setup("")
        assert self._inputs is not None
        return self._inputs

    def train_dataloader(self) -> TrainBatches:
        """Batches of training pairs with negatives; `batch_size` counts all processes."""
        # Lightning knows how a strategy shares batches out; None where there is one process.
        shares = self.trainer.distributed_sampler_kwargs if self.trainer else None
        shares = shares or {"rank": 0, "num_replicas": 1}
        train = self.data.train
        positives = UserItems.of(len(self.data.users), train)
        batches = TrainBatches(
            train,
            NegativeSampler(positives, len(self.data.items)),
            batch_size=self.batch_size,
            n_negatives=self.negatives,
            seed=self.seed,
            rank=shares["rank"],
            world_size=shares["num_replicas"],
        )
        if batches.left_out:
            rank_zero_warn(
                f"{batches.left_out} training pairs are left out: their users have every item, "
                "so that there is no negative"
            )
        return batches

    def val_dataloader(self) -> EvalBatches:
        """Users with their validation items; training items are masked."""
        return self._evaluation([self.unperturbed.train], self.data.valid)

    @cached_property
    def validation_sample(self) -> EvalBatches:
        """At most 2,048 users with their validation items, the same in every process.

        They are evenly spaced among all that have validation items.
        """
        having = np.unique(self.data.valid.users)
        chosen = having[:: max(1, math.ceil(len(having) / _SAMPLED_USERS))]
        return self._evaluation([self.unperturbed.train], self.data.valid, chosen, shared=True)

    def test_dataloader(self) -> EvalBatches:
        """Users with their test items; what is masked is `test_masks`."""
        valid = [self.data.valid] if self.test_masks == "train+valid" else []
        known, test = [self.unperturbed.train, *valid], self.data.test
        if self.test_items == "all":
            return self._evaluation(known, test)
        warm = np.unique(self.data.train.items)
        cold = ~np.isin(test.items, warm)
        relevant = Interactions(test.users[cold], test.items[cold])
        return self._evaluation(known, relevant, left_out=warm)

    def predict_dataloader(self) -> EvalBatches:
        """The users of `selection`; by default all, and everything that they know is masked."""
        data, selection = self.data, self.selection
        seen = [self.unperturbed.train, data.valid, data.test]
        return self._evaluation(seen if selection.exclude_seen else [], users=selection.users)

    def _evaluation(
        self,
        known: list[Interactions],
        relevant: Interactions | None = None,
        users: npt.NDArray[np.int64] | None = None,
        left_out: npt.NDArray[np.int64] = NO_ITEMS,
        shared: bool = False,
    ) -> EvalBatches:
        n_users = len(self.data.users)
        parts = [] if relevant is None else [relevant]
        return EvalBatches(
            np.arange(n_users) if users is None else users,
            UserItems.of(n_users, *known),
            UserItems.of(n_users, *parts),
            batch_size=self.eval_batch_size,
            left_out=left_out,
            rank=0 if shared else self._rank,
            world_size=1 if shared else self._world_size,
        )

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @cached_property
    def _raw(self) -> RawData:
        return read(self.root, self.format)

    @cached_property
    def stores(self) -> dict[str, FeatureStore]:
        """The feature store of each modality; extracted now, unless they are cached."""
        return feature_stores(self._raw, self.modalities, self.cache / "features", self.extraction)

    @property
    def _builder(self) -> GraphBuilder:
        return GraphBuilder(
            self.cache,
            missing={name: source.missing for name, source in self.modalities.items()},
            neighbours=self.neighbours,
            centre_features=self.centre_features,
            search=self.neighbour_search,
            perturbations=self.perturbations,
            memory_budget_mb=self.memory_budget_mb,
        )


def data_module(settings: Mapping[str, Any], *files: Path) -> SlifMrDataModule:
    """The data module of a section `data`, checked as strictly as `fit` checks it.

    Args:
        settings: The section, with `root`.
        files: Where it stands, for the error.

    Raises:
        ConfigError: A key or value is not understood.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SlifMrDataModule, "data")
    try:
        config = parser.parse_object({"data": dict(settings)})
    except ArgumentError as error:
        raise ConfigError(
            f"the data settings are not understood ({error})",
            expected="settings of this version of slifmr_pl",
            fix="mend the key or value",
            path=files[-1] if files else None,
        ) from error
    data: SlifMrDataModule = parser.instantiate_classes(config)["data"]
    return data
