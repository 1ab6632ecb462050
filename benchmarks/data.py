"""What the benchmarks run on: amazon-book in KGAT's format, or generated data of any size.

Generated sets follow Zipf-Mandelbrot power laws in users and items; the exponents are those of
amazon-book's rank-frequency curves. All generators are pure functions of their arguments.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.settings import Settings
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError
from slifmr_pl.graphs.triples import DirectedTriples

Integers = npt.NDArray[np.int64]

AMAZON_BOOK = (70_679, 24_915, 846_434)  # users, items, interactions
AMAZON_BOOK_KG = (88_572, 39, 2_557_746)  # entities besides the items, relations, triples
QUICK = (300, 200, 4_000)
QUICK_KG = (400, 5, 3_000)
TEST_SHARE = 0.2

USER_EXPONENT, ITEM_EXPONENT = 0.65, 0.8


@dataclass(frozen=True, eq=False)
class InteractionData:
    """Interactions in rows, split into two parts.

    Attributes:
        name: For titles.
        n_users: U.
        n_items: I.
        train: Training pairs.
        test: Test pairs; none is in training.
    """

    name: str
    n_users: int
    n_items: int
    train: Interactions
    test: Interactions

    @property
    def title(self) -> str:
        """Name and sizes."""
        return (
            f"{self.name}: {self.n_users:,} users, {self.n_items:,} items, "
            f"{len(self.train):,} training interactions"
        )


def load(settings: Settings) -> InteractionData:
    """The set that the run asks for: given, generated, or tiny."""
    if settings.quick:
        return generate(*QUICK, name="tiny")
    if settings.data is not None:
        return read_kgat(settings.data)
    return generate(*AMAZON_BOOK, name="generated")


def read_kgat(folder: Path) -> InteractionData:
    """Reads `train.txt` and `test.txt`: a user on each line, then the user's items.

    Rows are numbered as the package numbers raw ids, so that memory access is what users get.

    Raises:
        DataError: A file is missing or holds anything but whole numbers.
    """
    parts = [_kgat_pairs(folder / f"{part}.txt") for part in ("train", "test")]
    columns = []
    for column in range(2):
        ids = [pa.array(part[column].astype(np.str_)) for part in parts]
        vocabulary = Vocabulary.build(pa.concat_arrays(ids))
        columns.append((len(vocabulary), [vocabulary.encode(part) for part in ids]))
    (n_users, users), (n_items, items) = columns
    keys = [np.unique(u * n_items + i) for u, i in zip(users, items, strict=True)]
    train, test = keys[0], np.setdiff1d(keys[1], keys[0], assume_unique=True)
    return InteractionData(
        folder.name, n_users, n_items, _from_keys(train, n_items), _from_keys(test, n_items)
    )


def write_kgat(data: InteractionData, folder: Path) -> None:
    """Writes `train.txt` and `test.txt`, a line for each user that has items."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", data.train), ("test", data.test)):
        users, first = np.unique(part.users, return_index=True)
        rows = zip(users, np.split(part.items, first[1:]), strict=True)
        lines = (f"{user} {' '.join(map(str, items))}\n" for user, items in rows)
        (folder / f"{name}.txt").write_text("".join(lines), "ascii")


def write_layout(data: InteractionData, folder: Path) -> None:
    """Writes the package's own layout: `interactions.parquet` with the split given."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (("train", data.train), ("test", data.test))
    columns = {
        "user_id": np.concatenate([part.users for _, part in parts]).astype(np.str_),
        "item_id": np.concatenate([part.items for _, part in parts]).astype(np.str_),
        "split": np.repeat([name for name, _ in parts], [len(part) for _, part in parts]),
    }
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    pq.write_table(table, folder / "interactions.parquet")


def generate(
    n_users: int, n_items: int, n_interactions: int, *, seed: int = 2026, name: str = "generated"
) -> InteractionData:
    """Power-law interactions, a fifth of them for testing."""
    rng = np.random.default_rng([seed, 1])
    pairs = power_law_interactions(n_users, n_items, n_interactions, seed=seed)
    is_test = rng.random(len(pairs)) < TEST_SHARE
    train, test = (Interactions(pairs.users[m], pairs.items[m]) for m in (~is_test, is_test))
    return InteractionData(name, n_users, n_items, train, test)


def power_law_interactions(
    n_users: int, n_items: int, n_interactions: int, *, seed: int = 2026
) -> Interactions:
    """Distinct pairs whose users and items are drawn by power laws; everyone has at least one.

    Popular rows are spread over the ids at random. Takes O(n log n) and about 100 bytes a pair.

    Raises:
        ValueError: The pairs would fill more than half of the matrix, or leave a row empty.
    """
    if not max(n_users, n_items) <= n_interactions <= n_users * n_items // 2:
        raise ValueError(
            f"{n_interactions} pairs of {n_users} users and {n_items} items: expected at least one "
            "of each row, and at most half of all pairs"
        )
    rng = np.random.default_rng(seed)
    user_of_rank, item_of_rank = rng.permutation(n_users), rng.permutation(n_items)
    everyone = np.arange(max(n_users, n_items))
    keys = np.unique((everyone % n_users) * n_items + everyone % n_items)
    kept = keys  # one pair of each row, which the trimming below leaves alone
    while len(keys) < n_interactions:
        missing = n_interactions - len(keys)
        draws = missing + missing // 4 + 16
        users = user_of_rank[_zipf(rng, draws, n_users, USER_EXPONENT)]
        items = item_of_rank[_zipf(rng, draws, n_items, ITEM_EXPONENT)]
        keys = np.unique(np.concatenate([keys, users * n_items + items]))
    surplus = len(keys) - n_interactions
    if surplus:
        loose = np.setdiff1d(keys, kept, assume_unique=True)
        dropped = rng.choice(len(loose), surplus, replace=False, shuffle=False)
        keys = np.sort(np.concatenate([kept, np.delete(loose, dropped)]))
    return _from_keys(keys, n_items)


def knowledge(settings: Settings, data: InteractionData) -> DirectedTriples:
    """A knowledge graph of the size that is published for amazon-book, or a tiny one."""
    return generate_knowledge(data.n_items, *(QUICK_KG if settings.quick else AMAZON_BOOK_KG))


def generate_knowledge(
    n_items: int, n_others: int, n_relations: int, n_triples: int, *, seed: int = 2026
) -> DirectedTriples:
    """Distinct triples from items to other entities, by power laws, with their inverses.

    Args:
        n_items: I; the items are the first entities.
        n_others: Entities besides the items.
        n_relations: Relations, before inverse directions are added.
        n_triples: Facts, each in one direction.
        seed: Of the draws.
    """
    import torch

    rng = np.random.default_rng([seed, 2])
    tail_of_rank = rng.permutation(n_others)
    keys = np.empty(0, np.int64)
    while len(keys) < n_triples:
        draws = (n_triples - len(keys)) * 5 // 4 + 16
        heads = _zipf(rng, draws, n_items, 0.3)
        relations = _zipf(rng, draws, n_relations, 0.8)
        tails = tail_of_rank[_zipf(rng, draws, n_others, ITEM_EXPONENT)]
        drawn = (heads * n_relations + relations) * n_others + tails
        keys = np.unique(np.concatenate([keys, drawn]))
    keys = rng.permutation(keys)[:n_triples]
    heads, relations, tails = (
        keys // n_others // n_relations,
        keys // n_others % n_relations,
        keys % n_others + n_items,
    )
    return DirectedTriples.bidirectional(
        torch.from_numpy(heads),
        torch.from_numpy(relations),
        torch.from_numpy(tails),
        n_entities=n_items + n_others,
        n_relations=n_relations,
    )


def _zipf(rng: np.random.Generator, draws: int, size: int, exponent: float) -> Integers:
    """Ranks in [0, size) with density (rank + 1)^-exponent, by inverting its integral."""
    power = 1.0 - exponent
    ranks: Integers = (
        (1.0 + rng.random(draws) * ((size + 1.0) ** power - 1.0)) ** (1.0 / power)
    ).astype(np.int64)
    return np.minimum(ranks - 1, size - 1)


def _from_keys(keys: Integers, n_items: int) -> Interactions:
    return Interactions(keys // n_items, keys % n_items)


def _kgat_pairs(path: Path) -> tuple[Integers, Integers]:
    if not path.is_file():
        raise DataError(
            "the file does not exist",
            expected="amazon-book in KGAT's format: train.txt and test.txt",
            fix="give their folder with --data, or leave it out for generated data",
            path=path,
        )
    rows = []
    for number, line in enumerate(path.read_text("ascii").splitlines(), start=1):
        try:
            rows.append(np.array(line.split(), dtype=np.int64))
        except ValueError as error:
            raise DataError(
                f"{line[:40]!r} is no list of ids",
                expected="a user id and item ids, whole numbers",
                fix="mend the line",
                path=path,
                row=number,
            ) from error
    rows = [row for row in rows if len(row)]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    return users.astype(np.int64), np.concatenate([row[1:] for row in rows])
