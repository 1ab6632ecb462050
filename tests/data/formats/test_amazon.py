import json
from pathlib import Path
from typing import Any

import pytest

from slifmr_pl.errors import DataError
from tests.data.formats.folders import imported


def lines(*objects: dict[str, Any]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in objects)


OLD = {"reviewerID": "A1", "asin": "0001", "overall": 5.0, "unixReviewTime": 1400000000}
NEW = {"user_id": "A1", "parent_asin": "0001", "asin": "V", "rating": 5.0}
ITEM = {
    "item_id": "0001",
    "title": "Rattle",
    "brand": "Toys & Co",
    "categories": "Baby, Toys",
    "description": "Red. Loud.",
    "features": "",
    "image_url": "http://x/1.jpg",
}
CASES: dict[str, dict[str, str | bytes]] = {
    "2014": {
        "reviews_Baby_5.json.gz": lines({**OLD, "helpful": [0, 0]}),
        "meta_Baby.json.gz": str(
            {
                "asin": "0001",
                "title": "Rattle",
                "brand": "Toys & Co",
                "categories": [["Baby", "Toys"]],
                "description": "Red. Loud.",
                "imUrl": "http://x/1.jpg",
                "price": 3.5,
            }
        )
        + "\n",
    },
    "2018": {
        "Baby_5.json": lines({**OLD, "vote": "2"}),
        "meta_Baby.json": lines(
            {
                "asin": "0001",
                "title": "Rattle",
                "brand": "Toys & Co",
                "category": ["Baby", "Toys"],
                "description": ["Red.", "Loud."],
                "imageURL": ["http://x/small.jpg"],
                "imageURLHighRes": ["http://x/1.jpg"],
            }
        ),
    },
    "2023": {
        "Baby.jsonl.gz": lines({**NEW, "timestamp": 1400000000000}),
        "meta_Baby.jsonl.gz": lines(
            {
                "parent_asin": "0001",
                "title": "Rattle",
                "store": "Toys & Co",
                "categories": ["Baby", "Toys"],
                "description": ["Red.", "Loud."],
                "images": [{"thumb": "t", "large": "l", "hi_res": "http://x/1.jpg"}],
            }
        ),
    },
}


@pytest.mark.parametrize("edition", CASES)
def test_every_edition_gives_the_same_tables(tmp_path: Path, edition: str) -> None:
    raw, _ = imported(tmp_path, "amazon", CASES[edition])
    assert raw.interactions.to_pylist() == [
        {"user_id": "A1", "item_id": "0001", "rating": 5.0, "timestamp": 1.4e9}
    ]
    assert raw.items is not None
    assert raw.items.to_pylist() == [ITEM]


def test_item_described_twice_is_taken_once_and_counted(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "Baby.json": lines(OLD),
        "meta_Baby.json": lines(
            {"asin": "1", "title": "a"}, {"asin": "2"}, {"asin": "1", "title": "b"}
        ),
    }
    raw, report = imported(tmp_path, "amazon", files)
    assert raw.items is not None
    assert raw.items["title"].to_pylist() == ["a", ""]
    assert report.repeated_items == 1


def test_reviews_alone_are_a_file(tmp_path: Path) -> None:
    raw, _ = imported(tmp_path, "amazon", {"Baby.json": lines(OLD)}, "Baby.json")
    assert raw.items is None


def test_metadata_are_read_and_not_evaluated(tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    files: dict[str, str | bytes] = {
        "Baby.json": lines(OLD),
        "meta_Baby.json": f"{{'asin': __import__('os').mkdir({str(executed)!r})}}\n",
    }
    with pytest.raises(Exception, match="the line cannot be read"):
        imported(tmp_path, "amazon", files)
    assert not executed.exists()


@pytest.mark.parametrize(
    ("pictures", "url"),
    [
        ({"image": ["http://x/1.jpg", "http://x/2.jpg"]}, "http://x/1.jpg"),
        ({"image": "http://x/1.jpg"}, "http://x/1.jpg"),
        ({"imageURL": [], "image": ["", "http://x/2.jpg"]}, "http://x/2.jpg"),
        ({"imageURLHighRes": ["http://x/1.jpg"], "image": ["http://x/s.jpg"]}, "http://x/1.jpg"),
        ({"images": [{"thumb": "http://x/t.jpg", "large": None}]}, "http://x/t.jpg"),
        ({"images": []}, ""),
    ],
)
def test_pictures_of_every_edition_are_found(
    tmp_path: Path, pictures: dict[str, object], url: str
) -> None:
    files: dict[str, str | bytes] = {
        "Baby.json": lines(OLD),
        "meta_Baby.json": lines({"asin": "1", **pictures}),
    }
    raw, _ = imported(tmp_path, "amazon", files)
    assert raw.items is not None
    assert raw.items["image_url"].to_pylist() == [url]


@pytest.mark.parametrize("key", ["feature", "features"])
def test_features_are_text_and_the_other_keys_are_named(tmp_path: Path, key: str) -> None:
    files: dict[str, str | bytes] = {
        "Baby.json": lines({**OLD, "reviewText": "Good", "vote": "2"}),
        "meta_Baby.json": lines({"asin": "1", key: ["Soft.", "Blue."], "also_buy": ["2"]}),
        "notes.txt": "x",
    }
    raw, report = imported(tmp_path, "amazon", files)
    assert raw.items is not None
    assert raw.items["features"].to_pylist() == ["Soft. Blue."]
    assert report.notes == [
        "not read: notes.txt",
        "the keys reviewText, vote of Baby.json are not used",
        "the key also_buy of meta_Baby.json is not used",
    ]


def test_files_of_ratings_alone_are_told_how_they_are_read(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"ratings_Baby.csv": "A1,0000031852,5.0,1370304000\n"}
    with pytest.raises(DataError, match="0 files of reviews") as caught:
        imported(tmp_path, "amazon", files)
    assert "--no-header --columns user,item,rating,time" in caught.value.fix
