import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_extraction import FeatureError
from feature_extraction.encoders.encoder import Encoder, encoder_class, register_encoder
from feature_extraction.encoders.image_encoders import ClipImage
from feature_extraction.encoders.source_code import source_code

KIND = """
from feature_extraction import ImageEncoder
from .layers import pooled
class Kind(ImageEncoder):
    def encode(self, inputs):
        from thekinds.deep import late
        return pooled(late(inputs))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "thekinds"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "kind.py").write_text(KIND)
    (folder / "layers.py").write_text("import numpy\ndef pooled(x): return x\n")
    (folder / "deep.py").write_text("def late(x): return x\n")
    (folder / "other.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "thekinds"]:
        del sys.modules[name]


def test_code_is_the_module_and_what_it_imports_of_its_package(package: Path) -> None:
    cls = encoder_class("thekinds.kind.Kind")
    before = source_code(cls)
    assert set(before) == {"thekinds.kind", "thekinds.layers", "thekinds.deep"}
    (package / "other.py").write_text("x = 1\n")
    assert source_code(cls) == before
    (package / "layers.py").write_text("def pooled(x): return 2 * x\n")
    assert source_code(cls) != before


def test_code_of_this_package_is_its_format_version() -> None:
    assert source_code(ClipImage, type(ClipImage.reads)) == {}


def test_installed_package_is_known_by_its_version() -> None:
    torchmetrics = importlib.import_module("torchmetrics")
    assert source_code(torchmetrics.Metric)["torchmetrics"] == torchmetrics.__version__


def test_class_in_no_file_is_refused() -> None:
    typed = type("Typed", (ClipImage,), {"__module__": "nowhere"})
    with pytest.raises(FeatureError, match="in no file"):
        source_code(typed)


def test_short_name_belongs_to_one_class(package: Path) -> None:
    cls: type[Encoder] = encoder_class("thekinds.kind.Kind")
    with pytest.raises(FeatureError, match="the kind 'bert' exists"):
        register_encoder("bert", cls)
    register_encoder("clip-image", ClipImage)  # its own
    assert encoder_class("clip-image") is ClipImage
