from pathlib import Path

import numpy as np
import pytest

from slifmr_pl.data.selection import allowed_items, read_rows
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError, DataError

ITEMS = Vocabulary(["a", "b", "c", "d"])


def test_blocked_items_are_left_out_of_the_candidates() -> None:
    candidates, blocked = np.array([0, 1, 3]), np.array([1, 2])
    for some, none, expected in (
        (candidates, None, [True, True, False, True]),
        (None, blocked, [True, False, False, True]),
        (candidates, blocked, [True, False, False, True]),
    ):
        allowed = allowed_items(4, some, none)
        assert allowed is not None
        assert allowed.tolist() == expected
    assert allowed_items(4) is None
    with pytest.raises(ConfigError, match="no item may be recommended"):
        allowed_items(4, blocked, blocked)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_ids_of_a_table_become_rows_once_and_ascending(tmp_path: Path, suffix: str) -> None:
    separator = {"csv": ",", "tsv": "\t"}[suffix]
    lines = [["title", "item_id"], ["x", "d"], ["y", "b"], ["z", "d"]]
    path = tmp_path / f"items.{suffix}"
    path.write_text("\n".join(separator.join(line) for line in lines))
    assert read_rows(path, "item_id", ITEMS).tolist() == [1, 3]


def test_unknown_id_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id\na\n\nz\n")
    with pytest.raises(DataError) as refused:
        read_rows(path, "item_id", ITEMS)
    assert refused.value.row == 4
    assert "'z'" in refused.value.found
