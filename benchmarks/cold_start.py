"""Items and users that training has not seen, as Markdown tables.

python -m benchmarks.cold_start experiment/ml-100k DATA_FOLDER --seeds 1 2 3

A tenth of the items and a tenth of the users are taken out of the data altogether, the items' rows
and facts too, and the rest is trained on. Then the items are added from their features and facts,
and the users are shown from some of their items. W known items, C new ones, U known users.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import yaml
from torch import Tensor
from torch.nn.functional import normalize

from feature_extraction import ExtractionConfig, FeatureStore
from slifmr_pl.config.conversion import restored
from slifmr_pl.config.presets import configuration
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.features import ModalitySource, feature_stores
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.recommendation_datamodule import default_cache
from slifmr_pl.runs.reading import read_record
from slifmr_pl.serving.recommender import Recommender
from slifmr_pl.studies.runs import Job, ensure_fitted
from slifmr_pl.studies.statistics import mean_and_std

SHARE = 0.1
K = 20
HISTORIES = (3, 10)  # items shown of a new user; and once four fifths of them

Fact = tuple[str, str, str]
Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class World:
    """All of the data, and what is taken out of it.

    Attributes:
        raw: The files.
        data: Filtered and split, nothing taken out.
        stores: Features of all items.
        new_items: Raw ids.
        new_users: Raw ids.
        facts: Of the new items.
    """

    raw: RawData
    data: RecommendationData
    stores: Mapping[str, FeatureStore]
    new_items: Sequence[str]
    new_users: Sequence[str]
    facts: Sequence[Fact]


def take_out(raw: RawData, settings: Mapping[str, Any], seed: int) -> World:
    """Draws new items and users."""
    split = dict(settings.get("split", {}))
    data = build_dataset(
        raw,
        restored(FilterConfig, settings.get("filters", {}), "filters"),
        restored(SplitConfig, split | {"ratios": tuple(split.get("ratios", (0.8, 0.1, 0.1)))}, ""),
    )
    sources = {
        name: restored(ModalitySource, source | {"columns": tuple(source.get("columns", ()))}, name)
        for name, source in settings.get("modalities", {}).items()
    }
    stores = feature_stores(raw, sources, default_cache() / "features", ExtractionConfig())
    draw = np.random.default_rng(seed)
    items, users = (
        sorted(draw.choice(ids.ids.to_pylist(), int(SHARE * len(ids)), replace=False).tolist())
        for ids in (data.items, data.users)
    )
    return World(raw, data, stores, items, users, facts_of(raw, items))


def facts_of(raw: RawData, new: Sequence[str]) -> list[Fact]:
    """Triples with a new item, by item ids where an entity is an item."""
    if raw.kg is None:
        return []
    item_of = {}
    if raw.links is not None:
        entities, items = (raw.links[name].to_pylist() for name in ("entity_id", "item_id"))
        item_of = dict(zip(entities, items, strict=True))
    wanted = set(new)
    triples = zip(
        *(raw.kg[name].to_pylist() for name in ("head_id", "relation_id", "tail_id")), strict=True
    )
    named = ((item_of.get(h, h), relation, item_of.get(t, t)) for h, relation, t in triples)
    return [(h, r, t) for h, r, t in named if (h in wanted) != (t in wanted)]


def write_rest(world: World, folder: Path) -> None:
    """The data folder that is trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    raw, data = world.raw, world.data
    new_items, new_users = pa.array(world.new_items), pa.array(world.new_users)
    parts = []
    for name in ("train", "valid", "test"):
        part = getattr(data, name)
        table = pa.table(
            {
                "user_id": data.users.decode(part.users),
                "item_id": data.items.decode(part.items),
                "split": [name] * len(part),
            }
        )
        gone = pc.or_(pc.is_in(table["user_id"], new_users), pc.is_in(table["item_id"], new_items))
        parts.append(table.filter(pc.invert(gone)))
    pq.write_table(pa.concat_tables(parts), folder / "interactions.parquet")
    if raw.items is not None:
        pq.write_table(_without(raw.items, "item_id", new_items), folder / "items.parquet")
    if raw.kg is not None:
        entities, kg = new_items, raw.kg
        if raw.links is not None:
            mine = pc.is_in(raw.links["item_id"], new_items)
            entities = raw.links.filter(mine)["entity_id"].combine_chunks()
            links = _without(raw.links, "item_id", new_items)
            pq.write_table(links, folder / "links.parquet")
        for end in ("head_id", "tail_id"):
            kg = _without(kg, end, entities)
        pq.write_table(kg, folder / "kg.parquet")


def _without(table: pa.Table, column: str, ids: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[column], ids)))


def train(world: World, config: Path, folder: Path, seed: int) -> Path:
    """The best checkpoint of what is left."""
    write_rest(world, folder / "data")
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings["data"] = {
        name: value
        for name, value in settings["data"].items()
        if name not in ("root", "format", "filters", "split", "modalities")
    } | {
        "root": str(folder / "data"),
        "split": {"strategy": "given"},
        "modalities": {name: {"store": str(s.path)} for name, s in world.stores.items()},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    run = ensure_fitted(Job(folder, (path,), {"seed_everything": seed}), torch.get_num_threads())
    return run / str(read_record(run)["best"]["checkpoint"])


def recall(scores: Tensor, masked: Tensor, relevant: Sequence[Sequence[int]]) -> float:
    """Mean recall@20 of the users who have something to find.

    Args:
        scores: float [U, I].
        masked: bool [U, I] or [I].
        relevant: Columns to find, of each user.
    """
    best = scores.masked_fill(masked, -torch.inf).topk(min(K, scores.shape[1])).indices.tolist()
    return statistics.mean(
        len(set(row) & set(wanted)) / len(wanted)
        for row, wanted in zip(best, relevant, strict=True)
        if wanted
    )


def new_item_table(world: World, checkpoint: Path) -> Table:
    """Recall of new items by known users: among new items, among all; and of known items."""
    start = Recommender.from_checkpoint(checkpoint)
    known_ids, user_ids = start.items.ids.to_pylist(), start.catalogue.users.ids.to_pylist()
    n_known, n_items = len(known_ids), len(known_ids) + len(world.new_items)
    column = {raw: row for row, raw in enumerate([*known_ids, *world.new_items])}
    row_of = {raw: row for row, raw in enumerate(user_ids)}
    new: list[list[int]] = [[] for _ in user_ids]
    tested: list[list[int]] = [[] for _ in user_ids]
    trained = torch.zeros(len(user_ids), n_items)
    trained[start.graph.users, start.graph.items] = 1
    seen = trained.bool()
    for name in ("train", "valid", "test"):
        part = getattr(world.data, name)
        pairs = zip(
            world.data.users.decode(part.users), world.data.items.decode(part.items), strict=True
        )
        for user, item in pairs:
            if user in row_of and column[item] >= n_known:
                new[row_of[user]].append(column[item])
            elif user in row_of and name == "test":
                tested[row_of[user]].append(column[item])
            elif user in row_of:
                seen[row_of[user], column[item]] = True
    is_known = torch.arange(n_items) < n_known

    def measured(scores: Tensor) -> dict[str, float]:
        return {
            "new among new": recall(scores, seen | is_known, new),
            "new among all": recall(scores, seen, new),
            "known among all": recall(scores, seen, tested),
        }

    def added(stores: Mapping[str, FeatureStore], facts: Sequence[Fact]) -> dict[str, float]:
        recommender = Recommender.from_checkpoint(checkpoint)
        addition = recommender.add_items(world.new_items, stores=stores, facts=facts)
        scores = recommender.user_embeddings @ recommender.item_embeddings.T
        return measured(scores) | {"explained": addition.explained}

    similar = sum(
        (
            _cosines(store, [*known_ids, *world.new_items], n_known)
            for store in world.stores.values()
        ),
        torch.zeros(n_known, n_items),
    )
    start_scores = start.user_embeddings @ start.item_embeddings.T
    rows = {
        "nothing added": {"known among all": recall(start_scores, seen[:, :n_known], tested)},
        "random": measured(
            torch.rand(len(user_ids), n_items, generator=torch.Generator().manual_seed(1))
        ),
        "content kNN": measured(trained[:, :n_known] @ similar.clamp_min(0)),
    }
    if world.facts:
        rows["SLIF-MR, facts"] = added({}, world.facts)
    rows["SLIF-MR, features"] = added(world.stores, ())
    if world.facts:
        rows["SLIF-MR, features and facts"] = added(world.stores, world.facts)
    return rows


def _cosines(store: FeatureStore, ids: Sequence[str], n_known: int) -> Tensor:
    """Of known items with all, [W, W + C]; centred as the model's own graphs are."""
    values, present = map(torch.from_numpy, store.aligned(ids))
    mean = values[:n_known][present[:n_known]].mean(0)
    units = normalize(values - mean) * present.unsqueeze(1)
    return units[:n_known] @ units.T


def new_user_table(world: World, checkpoint: Path, seed: int) -> Table:
    """Recall of the rest of new users' known items, from some of them."""
    recommender = Recommender.from_checkpoint(checkpoint)
    ids = recommender.items.ids.to_pylist()
    row_of = {raw: row for row, raw in enumerate(ids)}
    popularity = torch.bincount(recommender.graph.items, minlength=len(ids)).float()
    similar = sum(
        (_cosines(store, ids, len(ids)) for store in world.stores.values()),
        torch.zeros(len(ids), len(ids)),
    ).clamp_min(0)
    histories: dict[str, list[int]] = {user: [] for user in world.new_users}
    for name in ("train", "valid", "test"):
        part = getattr(world.data, name)
        pairs = zip(
            world.data.users.decode(part.users), world.data.items.decode(part.items), strict=True
        )
        for user, item in pairs:
            if user in histories and item in row_of:
                histories[user].append(row_of[item])
    rows: Table = {"most popular": {}, "content kNN": {}, "SLIF-MR": {}}
    for size in (*HISTORIES, None):
        shown, rest, scores = [], [], []
        for number, items in enumerate(histories.values()):
            order = np.random.default_rng([seed, number]).permutation(items).tolist()
            cut = int(0.8 * len(order)) if size is None else size
            if len(order) <= cut:
                continue
            shown.append(order[:cut])
            rest.append(order[cut:])
            places = recommender.recommend_for_history([ids[i] for i in order[:cut]], len(ids))
            own = torch.full((len(ids),), -torch.inf)
            own[[row_of[place.item_id] for place in places]] = torch.tensor(
                [place.score for place in places]
            )
            scores.append(own)
        masked = torch.zeros(len(shown), len(ids), dtype=torch.bool)
        for row, items in enumerate(shown):
            masked[row, items] = True
        what = "4/5 of their items" if size is None else f"{size} items"
        rows["most popular"][what] = recall(popularity.expand(len(shown), -1), masked, rest)
        rows["content kNN"][what] = recall(masked.float() @ similar, masked, rest)
        rows["SLIF-MR"][what] = recall(torch.stack(scores), masked, rest)
    return rows


def show(title: str, tables: Sequence[Table]) -> None:
    """Prints means ± standard deviations over the seeds."""
    columns = max((list(row) for row in tables[0].values()), key=len)
    print(f"\n| {title} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in tables[0]:
        cells = []
        for column in columns:
            values = [table[name][column] for table in tables if column in table[name]]
            mean, std = mean_and_std(values) if values else (0.0, None)
            cells.append(f"{mean:.4f} ± {std or 0.0:.4f}" if values else "")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=configuration)
    parser.add_argument("root", type=Path, help="data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("runs/cold_start"))
    options = parser.parse_args(args)
    settings = yaml.safe_load(options.config.read_text("utf-8"))["data"]
    raw = read(options.root, settings.get("format", "auto"))
    items, users = [], []
    for seed in options.seeds:
        world = take_out(raw, settings, seed)
        best = train(world, options.config, options.out / f"seed{seed}", seed)
        items.append(new_item_table(world, best))
        users.append(new_user_table(world, best, seed))
    show("new items, recall@20", items)
    show("new users, recall@20 after", users)


if __name__ == "__main__":
    main()
