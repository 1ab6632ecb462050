"""Archives, bytes, workers, several processes and several pictures give what one picture gives."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from feature_extraction import EncoderSpec, ExtractionConfig, FeatureError, ItemInputs, extract
from feature_extraction.items.item_table import ItemTable
from feature_extraction.stores.partial import SHARD_ROWS
from tests.feature_extraction.items.test_archives import tar, zipped

COUNT = 9
QUIET = ExtractionConfig(device="cpu", progress=False, batch_size=4)


@pytest.fixture
def clip(clip_folder: Path) -> EncoderSpec:
    return EncoderSpec("clip-image", str(clip_folder))


@pytest.fixture
def folder(save_images: Callable[[int], Path]) -> Path:
    return save_images(COUNT)


@pytest.fixture
def inputs(folder: Path) -> ItemInputs:
    ids = [f"i{row}" for row in range(COUNT)]
    return ItemInputs(ids, images=[f"{row}.png" for row in range(COUNT)], image_root=folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_of_archives_and_columns_are_those_of_the_folder(
    clip: EncoderSpec, folder: Path, inputs: ItemInputs, tmp_path: Path
) -> None:
    expected = extract(inputs, clip, tmp_path / "stores", name="x", config=QUIET)
    content = files(folder)
    table = tmp_path / "items.parquet"
    rows = [content[f"{row}.png"] for row in range(COUNT)]
    names = [f"{row}.png" for row in range(COUNT)]
    pq.write_table(pa.table({"id": inputs.ids, "bytes": rows, "name": names}), table)
    shards = [
        tar(tmp_path / "0.tar", {name: content[name] for name in names[:5]}),
        zipped(tmp_path / "1.zip", {name: content[name] for name in names[5:]}),
    ]
    for items in (
        ItemTable(table, id_column="id", image_columns=["bytes"]),
        ItemTable(table, id_column="id", image_columns=["name"], images=shards),
        ItemInputs(inputs.ids, images=rows),
    ):
        # The same bytes have the same key: the second root shows that they are computed anew.
        store = extract(items, clip, tmp_path / str(id(items)), name="x", config=QUIET)
        assert store.path.name == expected.path.name
        np.testing.assert_array_equal(store.features, expected.features)


def test_workers_change_nothing_and_leave_the_random_state_alone(
    clip: EncoderSpec, inputs: ItemInputs, folder: Path, bert_folder: Path, tmp_path: Path
) -> None:
    (folder / "3.png").write_bytes(b"broken")
    texts = ItemInputs(inputs.ids, texts=["red hat " * row for row in range(COUNT)])
    for items, spec in ((inputs, clip), (texts, EncoderSpec("bert", str(bert_folder)))):
        alone = extract(items, spec, tmp_path / "0", name="x", config=QUIET)
        states = torch.get_rng_state(), random.getstate()
        config = dataclasses.replace(QUIET, workers=2)
        store = extract(items, spec, tmp_path / "2", name="x", config=config)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        np.testing.assert_array_equal(store.features, alone.features)
        assert store.failures == alone.failures
        assert store.manifest == alone.manifest


def test_processes_share_the_shards_out(bert_folder: Path, tmp_path: Path) -> None:
    count = SHARD_ROWS + 3
    words = ("red", "blue", "hat", "shoe")
    items = ItemInputs(
        [str(row) for row in range(count)], texts=[words[row % 4] for row in range(count)]
    )
    spec = EncoderSpec("bert", str(bert_folder))
    config = dataclasses.replace(QUIET, batch_size=1024, devices=2, workers=0)
    store = extract(items, spec, tmp_path, name="x", config=config)
    one = extract(
        ItemInputs(["a", "b", "c", "d"], texts=words), spec, tmp_path, name="one", config=QUIET
    )
    expected = np.tile(one.features, (count // 4 + 1, 1))[:count]
    np.testing.assert_allclose(store.features, expected, atol=1e-6)
    assert store.present.all()


def test_several_pictures_give_the_mean_and_broken_ones_are_left_out(
    clip: EncoderSpec, inputs: ItemInputs, folder: Path, tmp_path: Path
) -> None:
    single = extract(inputs, clip, tmp_path, name="single", config=QUIET).features
    images = [["0.png", "1.png", "2.png"], ["3.png", "absent.png"], ["absent.png", b"x"], [], None]
    items = ItemInputs(list("abcde"), images=images, image_root=folder)
    store = extract(items, clip, tmp_path, name="several", config=QUIET)
    np.testing.assert_allclose(store.features[0], single[:3].mean(0), atol=1e-6)
    np.testing.assert_allclose(store.features[1], single[3], atol=1e-6)
    assert store.present.tolist() == [True, True, False, False, False]
    assert [(one["item"], one["file"]) for one in store.failures] == [
        ("b", "absent.png"),
        ("c", "absent.png"),
        ("c", ""),
    ]
    assert (store.manifest["counts"]["failed"], store.manifest["counts"]["missing"]) == (1, 2)


def test_strict_stops_and_names_item_and_file(
    clip: EncoderSpec, inputs: ItemInputs, folder: Path, tmp_path: Path
) -> None:
    (folder / "3.png").write_bytes(b"")
    strict = dataclasses.replace(QUIET, strict=True)
    with pytest.raises(FeatureError, match=r"item 'i3' \(3\.png\): the file is empty"):
        extract(inputs, clip, tmp_path, name="x", config=strict)
    assert extract(inputs, clip, tmp_path, name="x", config=QUIET).present.sum() == COUNT - 1


LONG = "red blue hat shoe " * 7  # 28 tokens, beside 2 special ones; the model takes 16


@pytest.mark.parametrize(
    ("policy", "pieces", "count"),
    [
        ("truncate", [" ".join(LONG.split()[:14])], "truncated"),
        ("head+tail", [" ".join(LONG.split()[:7] + LONG.split()[-7:])], "truncated"),
        ("chunk+mean", [" ".join(LONG.split()[:14]), " ".join(LONG.split()[14:])], "chunked"),
    ],
)
def test_long_texts_follow_their_policy_and_are_counted(
    bert_folder: Path, tmp_path: Path, policy: str, pieces: list[str], count: str
) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    alone = extract(
        ItemInputs([str(row) for row in range(len(pieces))], texts=pieces),
        spec,
        tmp_path,
        name="pieces",
        config=QUIET,
    )
    long = dataclasses.replace(spec, long_texts=policy)  # type: ignore[arg-type]
    items = ItemInputs(["long", "short"], texts=[LONG, "red hat"])
    store = extract(items, long, tmp_path, name="long", config=QUIET)
    np.testing.assert_allclose(store.features[0], alone.features.mean(0), atol=1e-6)
    counts = store.manifest["counts"]
    assert {name: counts[name] for name in ("truncated", "chunked")} == {
        "truncated": 0,
        "chunked": 0,
    } | {count: 1}
    assert store.manifest["preprocessing"]["long_texts"] == policy


def test_html_is_no_part_of_the_key(bert_folder: Path, tmp_path: Path) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    plain, marked = (
        extract(ItemInputs(["a"], texts=[text]), spec, tmp_path, name="x", config=QUIET)
        for text in ("red hat", "<b>red</b>  hat")
    )
    assert plain.path == marked.path
