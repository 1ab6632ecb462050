"""The demo catalogue: a small raw data set in which pictures, texts and knowledge all matter."""

import csv
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slifmr_pl.demo.demo_catalogue import DemoCatalogue, draw_catalogue, item_id, most_activity
from slifmr_pl.demo.factors import LEAST_ACTIVITY, DemoLatents
from slifmr_pl.demo.facts import Triple, product_entity
from slifmr_pl.demo.folder import publish
from slifmr_pl.demo.product_pictures import draw_picture, encode_picture
from slifmr_pl.demo.product_texts import FOREIGN
from slifmr_pl.errors import ConfigError

VERSION = 1  # raise it when the same arguments come to give other files
FEWEST_ITEMS = 40  # fewer leave no room for every kind of special item


@dataclass(frozen=True)
class DemoSummary:
    """What the demo catalogue holds. All ids are raw ids.

    Attributes:
        root: Folder of the catalogue.
        written: False if the same catalogue was there already.
        users: Number of users.
        items: Number of items, cold ones included.
        interactions: Number of interactions.
        entities: Number of entities of the knowledge graph.
        relations: Number of relations.
        triples: Number of triples.
        picture_modes: Number of readable pictures of each Pillow mode.
        items_without_image_cell: Items whose ``image`` cell is empty.
        items_with_absent_image: Items whose ``image`` file does not exist.
        corrupt_image: The item whose picture file breaks off.
        cold_items: Items that nobody interacted with.
        unlinked_items: Items with no row in ``links.csv``.
        items_without_description: Items whose description is empty.
        items_without_text: Those of them whose title is empty, too.
        long_texts: Items whose description goes beyond 77 tokens.
        foreign_texts: Items whose text is German (``de``), French or Japanese.
        latents: The truth behind the data, for tests only.
    """

    root: Path
    written: bool
    users: int
    items: int
    interactions: int
    entities: int
    relations: int
    triples: int
    picture_modes: Mapping[str, int]
    items_without_image_cell: tuple[str, ...]
    items_with_absent_image: tuple[str, ...]
    corrupt_image: str
    cold_items: tuple[str, ...]
    unlinked_items: tuple[str, ...]
    items_without_description: tuple[str, ...]
    items_without_text: tuple[str, ...]
    long_texts: tuple[str, ...]
    foreign_texts: Mapping[str, tuple[str, ...]]
    latents: DemoLatents = field(repr=False, compare=False)


def write_demo_catalogue(
    root: Path,
    *,
    seed: int = 2026,
    n_users: int = 600,
    n_items: int = 400,
    n_interactions: int = 12_000,
) -> DemoSummary:
    """Write a small deterministic catalogue as raw input of the whole pipeline.

    Users choose items by the look of the picture (palette, shape, pattern), by words of the text
    (material, style, occasion, mood), by brand and category in the knowledge graph, and a little
    by things that no file tells. The four are independent of one another, so each file holds what
    the others lack. The same arguments give the same bytes under one Pillow version.

    The folder gets ``interactions.csv`` (user_id, item_id, timestamp), ``items.csv`` (item_id,
    title, description, image), ``kg.csv`` (head_id, relation_id, tail_id), ``links.csv``
    (item_id, entity_id), ``images/`` and ``demo.json``, which records how it was made.

    Args:
        root: Folder to write; left alone if it holds the same catalogue already.
        seed: Seed of everything that is drawn.
        n_users: Number of users; each has at least 8 interactions.
        n_items: Number of items, at least 40.
        n_interactions: Total number of interactions.

    Returns:
        Counts and special items, with the latent factors for tests.

    Raises:
        ConfigError: If the numbers do not go together.
        DataError: If ``root`` holds anything else; nothing is overwritten.
    """
    _check_numbers(seed, n_users, n_items, n_interactions)
    catalogue = draw_catalogue(seed, n_users, n_items, n_interactions)
    origin = {
        "kind": "demo catalogue",
        "version": VERSION,
        "seed": seed,
        "n_users": n_users,
        "n_items": n_items,
        "n_interactions": n_interactions,
    }
    written = publish(root, origin, functools.partial(_write, catalogue, seed))
    return _summarise(root, written, n_users, catalogue)


def _check_numbers(seed: int, n_users: int, n_items: int, n_interactions: int) -> None:
    for name, value, least in (
        ("seed", seed, 0),
        ("n_users", n_users, 1),
        ("n_items", n_items, FEWEST_ITEMS),
    ):
        if value < least:
            raise ConfigError(
                f"{name} is {value}", expected=f"at least {least}", fix=f"raise {name}"
            )
    most = n_users * most_activity(n_items)
    if not LEAST_ACTIVITY * n_users <= n_interactions <= most:
        raise ConfigError(
            f"n_interactions is {n_interactions} for {n_users} users and {n_items} items",
            expected=f"{LEAST_ACTIVITY * n_users} to {most} ({LEAST_ACTIVITY} for each user, "
            "and nobody with more than half of the items)",
            fix="change n_interactions, n_users or n_items",
        )


def _write(catalogue: DemoCatalogue, seed: int, root: Path) -> None:
    special = {name: set(items.tolist()) for name, items in catalogue.special.items()}
    (root / "images").mkdir()
    visual = catalogue.latents.codes["visual"]
    for item, picture in enumerate(catalogue.pictures):
        if item in special["no_image_cell"] | special["image_file_absent"]:
            continue
        palette, shape, pattern = visual[item].tolist()
        drawn = draw_picture(
            (palette, shape, pattern),
            side=picture.side,
            mode=picture.mode,
            rng=np.random.default_rng([seed, item]),
        )
        content = encode_picture(drawn, Path(picture.path).suffix)
        if item in special["corrupt"]:
            content = content[: len(content) // 2]
        (root / picture.path).write_bytes(content)

    items = (
        (item_id(item), *text, "" if item in special["no_image_cell"] else picture.path)
        for item, (text, picture) in enumerate(
            zip(catalogue.texts, catalogue.pictures, strict=True)
        )
    )
    links = (
        (item_id(item), product_entity(item))
        for item in range(len(catalogue.texts))
        if item not in special["unlinked"]
    )
    _write_csv(root / "items.csv", ("item_id", "title", "description", "image"), items)
    _write_csv(root / "links.csv", ("item_id", "entity_id"), links)
    _write_csv(root / "kg.csv", Triple._fields, catalogue.triples)
    _write_csv(
        root / "interactions.csv", ("user_id", "item_id", "timestamp"), catalogue.interactions
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _summarise(root: Path, written: bool, n_users: int, catalogue: DemoCatalogue) -> DemoSummary:
    n_items = len(catalogue.texts)
    ids = {name: tuple(map(item_id, items)) for name, items in catalogue.special.items()}
    unreadable = {*ids["no_image_cell"], *ids["image_file_absent"], *ids["corrupt"]}
    chosen = {item for _, item, _ in catalogue.interactions}
    modes = Counter(
        picture.mode
        for item, picture in enumerate(catalogue.pictures)
        if item_id(item) not in unreadable
    )
    triples = catalogue.triples
    return DemoSummary(
        root=root,
        written=written,
        users=n_users,
        items=n_items,
        interactions=len(catalogue.interactions),
        entities=len({entity for head, _, tail in triples for entity in (head, tail)}),
        relations=len({relation for _, relation, _ in triples}),
        triples=len(triples),
        picture_modes=dict(sorted(modes.items())),
        items_without_image_cell=ids["no_image_cell"],
        items_with_absent_image=ids["image_file_absent"],
        corrupt_image=ids["corrupt"][0],
        # Few interactions leave further items without any, beside those that are meant to be cold.
        cold_items=tuple(name for name in map(item_id, range(n_items)) if name not in chosen),
        unlinked_items=ids["unlinked"],
        items_without_description=tuple(sorted(ids["no_description"] + ids["no_text"])),
        items_without_text=ids["no_text"],
        long_texts=ids["long"],
        foreign_texts={language: ids[f"language_{language}"] for language in FOREIGN},
        latents=catalogue.latents,
    )
