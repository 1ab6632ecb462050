from pathlib import Path

import pytest

from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.fingerprints import part_fingerprints
from slifmr_pl.data.formats.data_folder import read


def parts(catalogue: Path, use_knowledge: bool = True, cold: bool = True, seed: int = 1):
    raw = read(catalogue, "auto")
    filters, split = FilterConfig(keep_cold_items=cold), SplitConfig(seed=seed)
    data: RecommendationData = build_dataset(raw, filters, split, use_knowledge)
    return data, part_fingerprints(data)


def test_knowledge_is_no_part_of_them(catalogue: Path) -> None:
    (with_it, hashes), (without, same) = parts(catalogue), parts(catalogue, use_knowledge=False)
    assert with_it.fingerprint != without.fingerprint
    assert hashes == same
    assert list(hashes) == ["users", "items", "train", "valid", "test"]
    assert len(set(hashes.values())) == 5


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"seed": 2}, {"train", "valid", "test"}),
        ({"cold": False}, {"items", "train", "valid", "test"}),
    ],
)
def test_what_differs_is_told(catalogue: Path, options: dict[str, int], changed: set[str]) -> None:
    one, other = parts(catalogue)[1], parts(catalogue, **options)[1]
    assert {name for name in one if one[name] != other[name]} == changed
