import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The tests' tensors are tiny: several threads only wait for each other, and on a busy machine
# they take five times as long.
torch.set_num_threads(1)
# How long an example takes says nothing here: the first one often waits for an import.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A feature cache of the test session's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIFMR_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Takes back what a test leaves: Lightning says in the environment which process it is."""
    before = set(os.environ)
    yield
    for name in set(os.environ) - before:
        del os.environ[name]


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo catalogue with its encoders."""
    from slifmr_pl.demo.catalogue_files import write_demo_catalogue
    from slifmr_pl.demo.encoders import write_demo_encoders

    root = tmp_path_factory.mktemp("demo") / "catalogue"
    write_demo_catalogue(root, n_users=90, n_items=60, n_interactions=1200)
    write_demo_encoders(root / "encoders")
    return root


@pytest.fixture(scope="session")
def checkpoint(catalogue: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a short run of the whole model, with its `recommendations.parquet` beside it."""
    from slifmr_pl.callbacks.recommendations import RecommendationWriter
    from tests.tiny_runs import demo_data, full_model, trainer

    folder = tmp_path_factory.mktemp("trained")
    module, data = full_model(top_k=7), demo_data(catalogue)
    fit = trainer(folder, 2)
    fit.fit(module, datamodule=data)
    fit.save_checkpoint(folder / "model.ckpt")
    trainer(folder, 1, RecommendationWriter(str(folder))).predict(module, datamodule=data)
    return folder / "model.ckpt"
