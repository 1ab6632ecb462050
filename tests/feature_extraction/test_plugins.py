"""An encoder kind and a raw modality of the user's, as the user runs them."""

import dataclasses
import os
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureError,
    FeatureStore,
    ItemInputs,
    ModelFiles,
    content_key,
    extract,
    register_encoder,
)
from feature_extraction.cli import main
from feature_extraction.encoders.preparation import stack
from feature_extraction.items.item_table import ItemTable, RawColumns
from feature_extraction.stores import partial
from slifmr_pl.cli import main as slifmr
from tests.extending.parts import sounds
from tests.feature_extraction.plugins.series import Quantiles
from tests.feature_extraction.stores.test_partial import shards_done

ROOT = Path(__file__).parents[2]
CNN = "tests.extending.parts.pooled_cnn.PooledCnn"
SOUND = "tests.extending.parts.sounds.MeanLogSpectrum"
QUIET = ExtractionConfig(device="cpu", progress=False, batch_size=2)
COUNT = 10


@pytest.fixture(scope="module")
def cnn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "cnn"
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_channels=3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        ResNetModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def write_sound(path: Path, pitch: float, seconds: float = 0.2, channels: int = 1) -> Path:
    times = np.arange(int(8000 * seconds)) / 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(2 * np.pi * pitch * times)).astype("<i2").tobytes())
    return path


@pytest.fixture
def sound_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for item in range(COUNT):
        write_sound(folder / f"i{item}.wav", 200 + 150 * item)
    (folder / "i2.wav").write_bytes(b"no sound")
    write_sound(folder / "i3.wav", 300, channels=2)
    (folder / "i4.wav").unlink()
    return folder


def sound_items(folder: Path) -> ItemInputs:
    ids = [f"i{item}" for item in range(COUNT)]
    names = [None if item == "i5" else f"{item}.wav" for item in ids]
    return ItemInputs(ids, inputs={"audio": names}, roots={"audio": folder})


def test_cnn_pools_the_layer_that_its_option_names(
    cnn_folder: Path, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    inputs = ItemInputs(["a", "b"], images=["0.png", "1.png"], image_root=save_images(2))
    last, first, largest = (
        extract(inputs, spec, tmp_path, name="x", config=QUIET)
        for spec in (
            EncoderSpec(CNN, str(cnn_folder), options=options)
            for options in ({}, {"layer": 0}, {"pool": "max"})
        )
    )
    assert [store.features.shape[1] for store in (last, first, largest)] == [16, 8, 16]
    assert (largest.features >= last.features).all()
    assert len({store.path for store in (last, first, largest)}) == 3
    assert largest.manifest["pooling"] == "max"
    assert first.manifest["encoder"]["options"] == {"layer": 0}
    assert "size" in last.manifest["preprocessing"]


def test_command_line_takes_a_class_path_a_short_name_and_options(
    cnn_folder: Path,
    save_images: Callable[[int], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = tmp_path / "items.csv"
    items.write_text("id\n0\n1\n")
    command = f"extract --items {items} --id-column id --images {save_images(2)} --device cpu"
    command += f" --encoder {cnn_folder} --output {tmp_path / 'stores'} --name x --option layer=0"
    keys = set()
    for kind in (["--kind", CNN], ["--kind", "pooled-cnn", "--plugins", CNN.rpartition(".")[0]]):
        assert main([*command.split(), *kind]) == 0
        store = FeatureStore.open(capsys.readouterr().out.strip())
        assert store.features.shape == (2, 8)
        keys.add(store.manifest["content_key"])
    assert len(keys) == 1
    assert main([*command.split(), "--kind", CNN, "--option", "layr=0"]) == 2
    assert "its options layer, pool" in capsys.readouterr().err


def test_plugin_is_imported_where_nothing_else_was(
    cnn_folder: Path, save_images: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "items.csv").write_text("id\n0\n1\n")
    command = f"--items items.csv --id-column id --images {save_images(2)} --output stores"
    command += f" --encoder {cnn_folder} --kind pooled-cnn --plugins {CNN.rpartition('.')[0]}"
    done = subprocess.run(
        [sys.executable, "-m", "feature_extraction", "extract", *command.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert FeatureStore.open(tmp_path / done.stdout.strip()).present.all()


@pytest.mark.parametrize("columns", [["--columns", "sound"], []])
def test_sounds_by_column_or_item_id_are_masked_and_listed_where_they_fail(
    sound_folder: Path, tmp_path: Path, columns: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    items = tmp_path / "items.csv"
    rows = [f"i{item},{'' if item == 5 else f'i{item}.wav'}\n" for item in range(COUNT)]
    items.write_text("id,sound\n" + "".join(rows))
    command = ["extract", "--items", str(items), "--id-column", "id", "--output", str(tmp_path)]
    command += ["--files", str(sound_folder), *columns, "--kind", SOUND, "--device", "cpu"]
    assert main([*command, "--option", "bands=4", "--name", "sound"]) == 0
    store = FeatureStore.open(capsys.readouterr().out.strip())
    absent = {2, 3, 4, 5} if columns else {2, 3, 4}
    assert store.present.tolist() == [item not in absent for item in range(COUNT)]
    reasons = {entry["item"]: entry["reason"] for entry in store.failures}
    assert reasons.pop("i2").startswith("cannot be decoded (Error: ")
    assert reasons.pop("i3") == "not 16-bit mono"
    assert reasons == ({"i4": "file not found"} if columns else {})
    with wave.open(str(sound_folder / "i6.wav")) as file:
        samples = np.frombuffer(file.readframes(10**6), "<i2").astype(np.float32) / 2**15
    expected = np.log1p(sounds.spectrum(samples, 4)["power"])
    np.testing.assert_allclose(store.features[6], expected, rtol=1e-5)

    assert main([*command, "--strict"]) == 2
    assert "item 'i2' (i2.wav)" in capsys.readouterr().err
    assert main([*command, "--text-columns", "sound"]) == 2
    assert "which reads audio" in capsys.readouterr().err


def test_sounds_that_changed_are_read_anew(sound_folder: Path, tmp_path: Path) -> None:
    spec = EncoderSpec(SOUND)
    items = sound_items(sound_folder)
    keys = [content_key(items, spec)]
    keys.append(content_key(items, dataclasses.replace(spec, options={"bands": 4})))
    write_sound(sound_folder / "i0.wav", 999)
    keys.append(content_key(items, spec))
    assert len(set(keys)) == 3
    moved = sound_folder.rename(tmp_path / "moved")
    assert content_key(sound_items(moved), spec) == keys[-1]


def test_two_processes_and_workers_give_what_one_gives(sound_folder: Path, tmp_path: Path) -> None:
    files = sorted(sound_folder.iterdir())
    contents = [file.read_bytes() for file in files]
    ids = [str(item) for item in range(partial.SHARD_ROWS + 3)]  # a shard for each process
    every = [contents[item % len(files)] for item in range(len(ids))]
    items, spec = ItemInputs(ids, inputs={"audio": every}), EncoderSpec("mean-log-spectrum")
    quiet = dataclasses.replace(QUIET, batch_size=512)
    alone = extract(items, spec, tmp_path / "1", name="x", config=quiet)
    broken = [item for item in ids if int(item) % len(files) in (2, 3)]
    assert [entry["item"] for entry in alone.failures] == broken
    for number, options in enumerate(({"devices": 2, "workers": 0}, {"workers": 2})):
        config = dataclasses.replace(quiet, **options)
        store = extract(items, spec, tmp_path / f"other {number}", name="x", config=config)
        np.testing.assert_array_equal(store.features, alone.features)
        assert store.failures == alone.failures
        assert store.manifest == alone.manifest


def test_interrupted_sounds_go_on_behind_their_finished_shards(
    sound_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "SHARD_ROWS", 4)
    items, spec = sound_items(sound_folder), EncoderSpec(SOUND)
    straight = extract(items, spec, tmp_path / "straight", name="x", config=QUIET)
    decode, read = sounds.Sound.decode, []

    def dying(self: sounds.Sound, raw: Any) -> Any:
        read.append(raw)
        if len(read) == 6:
            os._exit(9)
        return decode(self, raw)

    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # threads do not survive a fork
        sounds.Sound.decode = dying  # type: ignore[method-assign]
        extract(items, spec, tmp_path / "resumed", name="x", config=QUIET)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(shards_done(tmp_path / "resumed")) == 1
    written: list[int] = []
    write = partial.PartialStore.write
    monkeypatch.setattr(
        partial.PartialStore,
        "write",
        lambda self, shard, *args: (written.append(shard), write(self, shard, *args)),
    )
    resumed = extract(items, spec, tmp_path / "resumed", name="x", config=QUIET)
    assert written == [1, 2]
    np.testing.assert_array_equal(resumed.features, straight.features)
    assert resumed.manifest == straight.manifest


def test_numbers_of_columns_lists_and_arrays_are_one_modality(tmp_path: Path) -> None:
    spec = EncoderSpec("tests.feature_extraction.plugins.series.Quantiles")
    series = [[3.0, 1.0, 2.0], None, [5.0, 5.0], "x"]
    listed = ItemInputs(list("abcd"), inputs={"series": series})
    store = extract(listed, spec, tmp_path, name="listed", config=QUIET)
    assert store.features.tolist() == [[1, 2, 3], [0, 0, 0], [5, 5, 5], [0, 0, 0]]
    assert [(one["item"], one["file"], one["reason"]) for one in store.failures] == [
        ("d", "", "not numbers")
    ]
    arrays = [np.array([3.0, 1, 2]), None, np.array([5.0, 5])]
    store = extract(
        ItemInputs(list("abc"), inputs={"series": arrays}), spec, tmp_path, name="x", config=QUIET
    )
    assert store.features.tolist() == [[1, 2, 3], [0, 0, 0], [5, 5, 5]]

    table = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": ["a"], "s": [[3.0, 1.0, 2.0]], "x": [3], "y": [1]}), table)
    for columns, expected in (["s"], [1, 2, 3]), (["x", "y"], [1, 2, 3]):
        raw = RawColumns(spec.reads, columns)
        items = ItemTable(table, id_column="id", raw=[raw])
        store = extract(items, spec, tmp_path, name="table", config=QUIET)
        assert store.features[0].tolist() == expected


def test_wrong_shapes_are_said_and_not_crashed_on(tmp_path: Path) -> None:
    class Wide(Quantiles):
        dim = 4

    class Uneven(Quantiles):
        collate = staticmethod(stack)

    register_encoder("wide", Wide)
    register_encoder("uneven", Uneven)
    items = ItemInputs(["a", "b"], inputs={"series": [[1.0], [2.0, 3.0]]})
    for kind, message, workers in (
        ("wide", r"Wide.encode gives \(2, 3\)", 0),
        ("uneven", "cannot be put together", 0),
        ("uneven", "cannot be put together", 1),
    ):
        config = dataclasses.replace(QUIET, workers=workers)
        with pytest.raises(FeatureError, match=message) as caught:
            extract(items, EncoderSpec(kind), tmp_path, name="x", config=config)
        assert caught.value.fix
    config = dataclasses.replace(QUIET, devices=2)
    with pytest.raises(FeatureError, match="defined in a function"):
        extract(items, EncoderSpec("wide"), tmp_path, name="x", config=config)


class Scaled(Quantiles):
    """Has weights of its own, in no format of transformers."""

    needs = ("scale.safetensors",)

    def load(self, files: ModelFiles) -> None:
        self.scale = load_file(files.path("scale.safetensors"))["scale"]
        with pytest.raises(FeatureError, match=r"no file 'notes\.md'"):  # not in the content key
            files.path("notes.md")

    def encode(self, inputs: Any) -> torch.Tensor:
        return self.scale * super().encode(inputs)


def test_weights_of_any_file_are_found_and_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    items = ItemInputs(["a"], inputs={"series": [[1.0, 2.0, 3.0]]})
    spec = EncoderSpec(f"{__name__}.Scaled", str(tmp_path))
    with pytest.raises(FeatureError, match=r"the folder has no scale\.safetensors"):
        content_key(items, spec)
    stores = []
    for scale in (2.0, 3.0):
        save_file({"scale": torch.tensor(scale)}, tmp_path / "scale.safetensors")
        stores.append(extract(items, spec, tmp_path / "stores", name="x", config=QUIET))
    assert [store.features[0].tolist() for store in stores] == [[2, 4, 6], [3, 6, 9]]
    assert set(stores[0].manifest["encoder"]["files"]) == {"scale.safetensors"}
    with pytest.raises(FeatureError, match="the encoder has no name"):
        EncoderSpec(f"{__name__}.Scaled")


def test_a_run_trains_on_both(
    catalogue: Path, cnn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From YAML; the sounds are found by item id."""
    items = (catalogue / "items.csv").read_text().splitlines()[1:]
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, line in enumerate(items[:-1]):
        write_sound(folder / f"{line.partition(',')[0]}.wav", 200 + 20 * number)
    config = tmp_path / "run.yaml"
    config.write_text(
        f"""
        data:
          root: {catalogue}
          cache_dir: {tmp_path / "cache"}
          batch_size: 512
          neighbours: 5
          modalities:
            image: {{kind: {CNN}, encoder: {cnn_folder}, columns: [image], options: {{layer: 0}}}}
            sound: {{kind: {SOUND}, files: {folder}, options: {{bands: 4}}}}
        model: {{network: {{embedding_dim: 8}}}}
        trainer:
          {{max_epochs: 1, accelerator: cpu, logger: false, enable_progress_bar: false,
          default_root_dir: {tmp_path}}}
        """
    )
    assert slifmr(["fit", "--config", str(config)]) == 0
    (sound,), (image,) = (
        [FeatureStore.open(path) for path in (tmp_path / "cache" / "features").glob(f"{name}-*")]
        for name in ("sound", "image")
    )
    assert (sound.features.shape, int(sound.present.sum())) == ((len(items), 4), len(items) - 1)
    assert image.features.shape == (len(items), 8)


def test_kind_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    package = "tests.extending.parts"
    for kind, message in {
        "resnet": "class path such as",
        "no_such_package.Encoder": "cannot be imported",
        f"{package}.pooled_cnn.Absent": "not there",
        f"{package}.sounds.Sound": "no encoder",
        "a b.C": "kind is 'a b.C'",
    }.items():
        with pytest.raises(FeatureError, match=message):
            EncoderSpec(kind, "owner/model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layr": 1}, "layr is 1 .* does not take it"),
        ({"layer": "five"}, "layer is 'five'"),
        ({"layer": True}, "layer is True"),
        ({"pool": "sum"}, "pool is 'sum'"),
        ({"layer": {1, 2}}, "plain types"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeatureError, match=message):
        EncoderSpec(CNN, "owner/model", options=options)
