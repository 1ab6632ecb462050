"""What models, callbacks and reports need of data: the contract of every data module.

It stands right of `data` and `graphs`, since it joins the two.
"""

import inspect
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from slifmr_pl.config.bounds import require, require_counts, require_seed
from slifmr_pl.config.changed import changed_fields
from slifmr_pl.data.batches import NO_ITEMS, EvalBatches, TrainBatches
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import (
    FilterConfig,
    RecommendationData,
    SplitConfig,
    build_dataset,
    unused_of_split,
)
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.data.frozen_features import FrozenFeatures
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.perturbations import Perturbations, perturbed
from slifmr_pl.data.sampler import NegativeSampler, UniformSampler
from slifmr_pl.data.selection import PredictRequest
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.building import GraphBuilder
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.neighbours import NeighbourSearch

logger = logging.getLogger(__name__)

_SAMPLED_USERS = 2048

TestMasks = Literal["train", "train+valid"]
TestItems = Literal["all", "cold"]


def default_cache() -> Path:
    """`$SLIFMR_CACHE`, or `slifmr_pl` below `$XDG_CACHE_HOME` or `~/.cache`.

    What is in it is keyed by content, so that all runs share it.
    """
    own = os.environ.get("SLIFMR_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")  # a relative one does not count, by its standard
    folder = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return folder / "slifmr_pl"


def data_module_of(trainer: pl.Trainer) -> "RecommendationDataModule":
    """The data module that a trainer runs with.

    Raises:
        ConfigError: If it is none that keeps the contract.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, RecommendationDataModule):
        stage = "fit" if trainer.state.fn is None else trainer.state.fn.value
        raise ConfigError(
            "the Trainer has no data module"
            if data is None
            else f"the data module is a {type(data).__name__}",
            expected="a RecommendationDataModule: ids, graphs and features besides the batches",
            fix=f"call Trainer.{stage}(module, datamodule=SlifMrDataModule(…)), or derive your own "
            "from RecommendationDataModule",
        )
    return data


class RecommendationDataModule(pl.LightningDataModule):
    """Data for recommenders; one of your own is a subclass that says where they come from.

    A subclass overrides `tables`, which gives the raw tables, and perhaps `features`. One that has
    numbered and split data already overrides `dataset` in place of `tables`. All else is made of
    these: filters, split, graphs, loaders that share themselves out over processes, masks of known
    items, and what identifies the data.

    Args:
        filters: Which interactions count.
        split: How they are split.
        use_knowledge: Whether to read the knowledge graph, where there is one.
        neighbours: k of the modality graphs.
        centre_features: Subtract the mean feature before neighbours are searched, unless a
            modality has a `similarity` of its own.
        neighbour_search: Exact or approximate search of the neighbours in the modality graphs.
        batch_size: Positives of a step, over all processes together.
        negatives: n, negatives of each positive.
        sampler: What draws the negatives; default: each item that a user has no training
            interaction with is equally likely.
        eval_batch_size: Users ranked at a time.
        test_masks: What `test` leaves out of the ranking: the training items of a user, or
            those of validation too.
        test_items: Which items compete in `test`, and whose interactions count: all, or those
            that are in no training interaction.
        perturbations: How training data are made worse, to see how much a model loses by
            it. What is masked in the ranking stays that of the data as they are.
        cache_dir: Where feature stores, neighbours and sorted triples are kept; default
            `$SLIFMR_CACHE`, or `slifmr_pl` below `$XDG_CACHE_HOME` or `~/.cache`.
        memory_budget_mb: Working memory of the neighbour search, in MiB.
        seed: Seed of batches and negatives.

    Attributes:
        root: Folder that the data are of, for errors, and that paths of pictures are relative to.
        modalities: Sources of features that are read or computed, by modality; where `features`
            gives them by itself, there are none.
        predict_request: What `predict` ranks for whom.
    """

    root = Path()
    modalities: Mapping[str, ModalitySource] = MappingProxyType({})

    def __init__(
        self,
        *,
        filters: FilterConfig = FilterConfig(),
        split: SplitConfig = SplitConfig(),
        use_knowledge: bool = True,
        neighbours: int = 10,
        centre_features: bool = True,
        neighbour_search: NeighbourSearch = NeighbourSearch(),
        batch_size: int = 2048,
        negatives: int = 32,
        sampler: NegativeSampler | None = None,
        eval_batch_size: int = 1024,
        test_masks: TestMasks = "train+valid",
        test_items: TestItems = "all",
        perturbations: Perturbations = Perturbations(),
        cache_dir: str | None = None,
        memory_budget_mb: int = 256,
        seed: int = 2026,
    ) -> None:
        super().__init__()
        require_counts(
            "data",
            1,
            neighbours=neighbours,
            batch_size=batch_size,
            negatives=negatives,
            eval_batch_size=eval_batch_size,
            memory_budget_mb=memory_budget_mb,
        )
        require_seed("data", seed)
        require(
            "data",
            ("test_masks", test_masks, test_masks in get_args(TestMasks), "train or train+valid"),
            ("test_items", test_items, test_items in get_args(TestItems), "all or cold"),
        )
        self.filters = filters
        self.split = split
        self.use_knowledge = use_knowledge
        self.neighbours = neighbours
        self.centre_features = centre_features
        self.neighbour_search = neighbour_search
        self.batch_size = batch_size
        self.negatives = negatives
        self.sampler = sampler or UniformSampler()
        self.eval_batch_size = eval_batch_size
        self.test_masks = test_masks
        self.test_items = test_items
        self.perturbations = perturbations
        self.cache = Path(cache_dir) if cache_dir else default_cache()
        self.memory_budget_mb = memory_budget_mb
        self.seed = seed
        self.predict_request = PredictRequest()
        self._inputs: ModelInputs | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __str__(self) -> str:  # Lightning's own counts the rows of every loader
        return repr(self)

    def tables(self) -> RawData:
        """The raw tables, read once; `slifmr_pl.data.formats.frames.raw_data` makes them of frames.

        Ids are strings, columns and their types as `RawData` says.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither tables nor dataset")

    def dataset(self) -> RecommendationData:
        """The data set in rows, before it is perturbed; by default made of `tables`."""
        return build_dataset(self.raw, self.filters, self.split, self.use_knowledge)

    def features(self, items: Vocabulary) -> Mapping[str, FrozenFeatures]:
        """Features of the items by modality, row i of item i; by default none.

        Args:
            items: The catalogue.
        """
        return {}

    def build_inputs(self) -> ModelInputs:
        """Graphs and features, by default of `data` and `features`."""
        builder = GraphBuilder(
            self.cache,
            neighbours=self.neighbours,
            centre_features=self.centre_features,
            search=self.neighbour_search,
            perturbations=self.perturbations,
            memory_budget_mb=self.memory_budget_mb,
        )
        return builder.build(self.data, self.features(self.data.items))

    @property
    def is_made_of_tables(self) -> bool:
        """Whether the data set is what `tables` says, and not what an own `dataset` says."""
        return type(self).dataset is RecommendationDataModule.dataset

    @cached_property
    def raw(self) -> RawData:
        """What `tables` gives, kept until graphs are built of it."""
        return self.tables()

    @property
    def preparation(self) -> dict[str, Any]:
        """The settings that decide what the data are, in plain types; `inspect` writes them."""
        return {
            "filters": asdict(self.filters),
            "split": asdict(self.split),
            "use_knowledge": self.use_knowledge,
        }

    @cached_property
    def data(self) -> RecommendationData:
        """The data set in rows, perturbed where that is asked for."""
        return perturbed(self.unperturbed, self.perturbations)

    @cached_property
    def unperturbed(self) -> RecommendationData:
        """The data set as it is."""
        return self.dataset()

    def prepare_data(self) -> None:
        """Fills the cache in one process: features, their neighbours, sorted triples."""
        _ = self.model_inputs

    def setup(self, stage: str) -> None:
        """Makes data and graphs, once, and looks whether there is something to measure on."""
        if self._inputs is None:
            logger.info("Reading the data: %r", self)
            logger.info("%s", self.data.summary)
            logger.info("Cache (data.cache_dir): %s", self.cache)
            for caution in self.data.summary.cautions:
                rank_zero_only(logger.warning)("%s", caution)
            logger.info("Preparing features and graphs")
            self._inputs = self.build_inputs()
            for reason, names in self.unused_settings().items():
                rank_zero_warn(f"No effect: {', '.join(names)}, since {reason}.")
            vars(self).pop("raw", None)  # what is needed of the tables is in rows now
            pa.default_memory_pool().release_unused()  # Arrow would keep their space
        parts: dict[str, Literal["valid", "test"]]
        parts = {"fit": "valid", "validate": "valid", "test": "test"}
        part = parts.get(stage)
        if part is not None and not len(getattr(self.data, part)):
            raise self._empty(part)

    def _empty(self, part: Literal["valid", "test"]) -> DataError:
        """What an empty part of the split is due to, and what helps."""
        strategy, data = self.split.strategy, self.unperturbed
        share = self.split.ratios[1 if part == "valid" else 2]
        rows = len(data.train) + len(data.valid) + len(data.test)
        why, fix = "", "change data.split or relax data.filters"
        if strategy == "given":
            why = f": the data put no row into {part}"
            fix = "add the part to the column split, or use another data.split.strategy"
        elif strategy == "leave_one_out":
            why = ": no user has three interactions"
            fix = "relax data.filters, or use data.split.strategy ratio"
        elif strategy == "temporal" and share * rows >= 1:
            why = (
                ": the rows that would be in it have the same time as the last row before, and "
                "rows of the same time stay together"
            )
            fix = "give finer times, or change data.split.ratios or data.split.strategy"
        elif share * rows < 1:
            why = f": a share of {share:g} of {rows} rows is less than one"
        return DataError(
            f"the {part} part of the split is empty{why}",
            expected=f"at least one {part} interaction",
            fix=fix,
            path=self.root,
        )

    def unused_settings(self) -> dict[str, list[str]]:
        """Names of settings that were given and have no effect, by what makes them so.

        It is asked once data and graphs are there.
        """
        carved = self.unperturbed.summary.valid_carved_from_train > 0
        found = unused_of_split(self.split, carved)
        if changed_fields(self.perturbations) == ["seed"]:
            found["nothing is perturbed"] = ["data.perturbations.seed"]
        assert self._inputs is not None
        if not self._inputs.features:
            taken = inspect.signature(RecommendationDataModule).parameters
            names = ("neighbours", "centre_features", "neighbour_search")
            given = [name for name in names if getattr(self, name) != taken[name].default]
            if given:
                found["the data have no modalities"] = [f"data.{name}" for name in given]
        return found

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
            self.sampler.built(positives, len(self.data.items)),
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
        known, test = self.known_in_test(self.test_masks), self.data.test
        if self.test_items == "all":
            return self._evaluation(known, test)
        warm = np.unique(self.data.train.items)
        cold = ~np.isin(test.items, warm)
        relevant = Interactions(test.users[cold], test.items[cold])
        return self._evaluation(known, relevant, left_out=warm)

    def known_in_test(self, masks: str) -> list[Interactions]:
        """The parts of the data that `test` leaves out of the ranking with these `test_masks`."""
        valid = [self.data.valid] if masks == "train+valid" else []
        return [self.unperturbed.train, *valid]

    def predict_dataloader(self) -> EvalBatches:
        """The users of `predict_request`; by default all, and everything they know is masked."""
        data, request = self.data, self.predict_request
        seen = [self.unperturbed.train, data.valid, data.test]
        return self._evaluation(seen if request.exclude_seen else [], users=request.users)

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
