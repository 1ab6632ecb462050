"""Settings of data that were given and have no effect are named; contradictions are refused."""

from pathlib import Path
from typing import Any

import pytest

from feature_extraction import ExtractionConfig
from slifmr_pl.cli import main
from slifmr_pl.data.dataset import SplitConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.data.perturbations import Perturbations
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError, UserFacingError
from slifmr_pl.graphs.neighbours import NeighbourSearch
from tests.data.formats.folders import write
from tests.tiny_runs import demo_data

HEADER = "user_id,item_id,timestamp,split\n"
ROWS = HEADER + "".join(
    f"u{n % 3},{n},{n},{('train', 'train', 'valid', 'test')[n // 3 % 4]}\n" for n in range(24)
)


def said(root: Path, **options: Any) -> dict[str, list[str]]:
    write(root / "data", {"interactions.csv": ROWS})
    module = SlifMrDataModule(str(root / "data"), cache_dir=str(root / "cache"), **options)
    module.setup("")
    return module.unused_settings()


OTHER = SplitConfig(ratios=(0.5, 0.25, 0.25), seed=7)
NO_MODALITIES = "the data have no modalities"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"split": OTHER}, {}),
        ({"split": SplitConfig("leave_one_out")}, {}),
        (
            {"split": SplitConfig("leave_one_out", OTHER.ratios, 7)},
            {"data.split.strategy is leave_one_out": ["data.split.ratios", "data.split.seed"]},
        ),
        (
            {"split": SplitConfig("temporal", OTHER.ratios, 7)},
            {"data.split.strategy is temporal": ["data.split.seed"]},
        ),
        (
            {"split": SplitConfig("given", OTHER.ratios)},
            {
                "data.split.strategy is given and the data have a validation part": [
                    "data.split.ratios"
                ]
            },
        ),
        (
            {"neighbours": 3, "centre_features": False},
            {NO_MODALITIES: ["data.neighbours", "data.centre_features"]},
        ),
        (
            {"neighbour_search": NeighbourSearch(exact_rows=5)},
            {NO_MODALITIES: ["data.neighbour_search"]},
        ),
        (
            {"perturbations": Perturbations(seed=3)},
            {"nothing is perturbed": ["data.perturbations.seed"]},
        ),
        ({"perturbations": Perturbations(added_interactions=0.1, seed=3)}, {}),
        (
            {"extraction": ExtractionConfig(batch_size=8, progress=False)},
            {"no modality has an encoder": ["data.extraction.batch_size"]},
        ),
    ],
)
def test_setting_without_effect_is_named_with_its_reason(
    tmp_path: Path, options: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    assert said(tmp_path, **options) == expected


def test_ratios_count_where_a_validation_part_is_carved(tmp_path: Path) -> None:
    rows = ROWS.replace("valid", "train")
    root = write(tmp_path / "data", {"interactions.csv": rows})
    split = SplitConfig("given", (0.5, 0.5, 0.0))
    module = SlifMrDataModule(str(root), split=split, cache_dir=str(tmp_path / "cache"))
    module.setup("")
    assert module.unused_settings() == {}
    assert module.data.summary.valid_carved_from_train > 0


def test_settings_of_features_have_an_effect_where_there_are_some(catalogue: Path) -> None:
    data = demo_data(catalogue, neighbours=3, extraction=ExtractionConfig(batch_size=8))
    data.setup("")
    assert data.unused_settings() == {}


def test_fit_says_it_once(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = write(tmp_path / "data", {"interactions.csv": ROWS})
    flags = ["--data.root", str(root), "--data.cache_dir", str(tmp_path / "cache")]
    flags += ["--data.split.strategy", "leave_one_out", "--data.split.ratios", "[0.5,0.25,0.25]"]
    flags += ["--data.neighbours", "3", "--trainer.max_epochs", "1"]
    flags += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *flags]) == 0
    messages = [str(one.message) for one in recwarn if "No effect" in str(one.message)]
    assert messages == [
        "No effect: data.split.ratios, since data.split.strategy is leave_one_out.",
        "No effect: data.neighbours, since the data have no modalities.",
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (ModalitySource(), "data.modalities.text has no source"),
        (ModalitySource("bert"), "data.modalities.text has no source"),
        (ModalitySource(columns=("title",)), "data.modalities.text has no source"),
        (
            ModalitySource("bert", "any", columns=("title",), store="features/text"),
            "has a store, and kind, encoder, columns, which a store does not read",
        ),
        (ModalitySource(store="x", precision="float16"), "has a store, and precision"),
    ],
)
def test_modality_without_a_source_or_with_two_is_refused_at_once(
    source: ModalitySource, found: str
) -> None:
    with pytest.raises(ConfigError, match=found):
        SlifMrDataModule("nowhere", modalities={"text": source})


def test_store_takes_a_policy_for_missing_features() -> None:
    SlifMrDataModule("nowhere", modalities={"text": ModalitySource(store="x", missing="zero")})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"modalities": {"text": ModalitySource("brt", "x", columns=("t",))}}, "brt"),
        ({"perturbations": Perturbations(missing_features={"text": 0.5})}, "names text"),
    ],
)
def test_encoder_or_modality_that_is_not_there_is_refused_before_data_are_read(
    tmp_path: Path, options: dict[str, Any], found: str
) -> None:
    module = SlifMrDataModule(str(tmp_path / "absent"), **options)
    with pytest.raises(UserFacingError, match=found):
        module.setup("fit")


def test_files_of_a_kind_that_reads_none_are_refused(catalogue: Path, tmp_path: Path) -> None:
    encoder = str(catalogue / "encoders" / "bert")
    text = ModalitySource("bert", encoder, columns=("title",), files="images")
    module = SlifMrDataModule(str(tmp_path / "absent"), modalities={"text": text})
    with pytest.raises(ConfigError, match=r"text\.files is 'images', and bert reads no files"):
        module.setup("fit")


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("devices", -1), ("workers", 1.5)])
def test_setting_of_the_extraction_is_named_whole(name: str, value: Any) -> None:
    with pytest.raises(UserFacingError, match=f"the extraction's {name} is {value}") as caught:
        ExtractionConfig(**{name: value})
    assert f"set data.extraction.{name}, or --{name.replace('_', '-')} of" in caught.value.fix
