from pathlib import Path

from slifmr_pl.data.formats.data_folder import read
from tests.data.formats.folders import imported, write

PLAIN: dict[str, str | bytes] = {
    "train.txt": "0 1 2\n1 0\n2\n",
    "test.txt": "0 0\n\n1 2 1\n",
    "kg_final.txt": "0 0 3\n1 1 0\n",
}
LISTS: dict[str, str | bytes] = {
    "user_list.txt": "org_id remap_id\nAnn B 0\nbob 1\ncid 2\n",
    "item_list.txt": "org_id remap_id freebase_id\nB00 0 m.0\nB01 1 m.1\nB02 2 m.2\n",
    "entity_list.txt": "org_id remap_id\nm.0 0\nm.1 1\nm.2 2\nm.9 3\n",
    "relation_list.txt": "org_id remap_id\nhttp://genre 0\nby 1\n",
}


def test_numbers_stay_where_there_are_no_lists(tmp_path: Path) -> None:
    raw, report = imported(tmp_path, "kgat", PLAIN)
    rows = raw.interactions.to_pydict()
    assert rows["user_id"] == ["0", "0", "1", "0", "1", "1"]
    assert rows["item_id"] == ["1", "2", "0", "0", "2", "1"]
    assert rows["split"] == ["train"] * 3 + ["test"] * 3
    assert raw.kg is not None
    assert raw.kg.to_pydict()["tail_id"] == ["3", "0"]
    assert raw.links is None
    assert report.parts == {"train": 3, "valid": 0, "test": 3}


def test_lists_give_original_ids_and_links(tmp_path: Path) -> None:
    raw, _ = imported(tmp_path, "kgat", PLAIN | LISTS)
    assert raw.interactions["user_id"].to_pylist()[:3] == ["Ann B", "Ann B", "bob"]
    assert raw.interactions["item_id"].to_pylist()[:3] == ["B01", "B02", "B00"]
    assert raw.kg is not None
    assert raw.kg.to_pylist() == [
        {"head_id": "m.0", "relation_id": "http://genre", "tail_id": "m.9"},
        {"head_id": "m.1", "relation_id": "by", "tail_id": "m.0"},
    ]
    assert raw.links is not None
    assert raw.links["entity_id"].to_pylist() == ["m.0", "m.1", "m.2"]


def test_list_that_names_two_things_alike_is_noted_and_left_out(tmp_path: Path) -> None:
    files = PLAIN | {"user_list.txt": "org_id remap_id\na 0\na 1\nb 2\n"}
    raw, report = imported(tmp_path, "kgat", files)
    assert raw.interactions["user_id"].to_pylist()[0] == "0"
    assert report.notes == ["user_list.txt names 1 ids again: the numbers stay in their place"]


def test_folder_is_read_directly(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "kgat", PLAIN | LISTS))
    assert raw.interactions.num_rows == 6
    assert raw.links is not None
