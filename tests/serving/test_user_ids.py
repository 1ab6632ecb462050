"""Which files hold ids of users and what they interacted with, as the documentation says."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from slifmr_pl.cli import main
from slifmr_pl.models.base import load_model
from tests.tiny_runs import demo_data

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def known(catalogue: Path) -> dict[str, set[str]]:
    """What each user interacted with, in any part."""
    data = demo_data(catalogue, modalities={}, use_knowledge=False).data
    items: dict[str, set[str]] = {}
    for part in (data.train, data.valid, data.test):
        pairs = zip(data.users.decode(part.users), data.items.decode(part.items), strict=True)
        for user, item in pairs:
            items.setdefault(user, set()).add(item)
    return items


def test_a_checkpoint_alone_tells_what_every_user_interacted_with(
    checkpoint: Path, known: dict[str, set[str]]
) -> None:
    assert "holds the ids of users and what they interacted with" in (
        DOCS / "serving.md"
    ).read_text().replace("\n", " ")
    module = load_model(checkpoint)
    assert module.inputs is not None
    catalogue, graph = module.inputs.catalogue, module.inputs.graph
    told: dict[str, set[str]] = {}
    for users, items in (
        (graph.users.numpy(), graph.items.numpy()),
        (catalogue.held_out.users, catalogue.held_out.items),
    ):
        pairs = zip(catalogue.users.decode(users), catalogue.items.decode(items), strict=True)
        for user, item in pairs:
            told.setdefault(user, set()).add(item)
    assert told == known


def test_an_export_alone_tells_it_too(
    checkpoint: Path, known: dict[str, set[str]], tmp_path: Path
) -> None:
    out = tmp_path / "exported"
    assert main(["export", str(checkpoint), str(out)]) == 0
    tensors = load_file(out / "embeddings.safetensors")
    users = pq.read_table(out / "users.parquet")["user_id"].to_pylist()
    items = np.array(pq.read_table(out / "items.parquet")["item_id"].to_pylist())
    offsets = tensors["seen_offsets"]
    told = {
        user: set(items[tensors["seen_items"][offsets[row] : offsets[row + 1]]].tolist())
        for row, user in enumerate(users)
    }
    assert told == known
    assert "personal data" in (out / "README.md").read_text()
