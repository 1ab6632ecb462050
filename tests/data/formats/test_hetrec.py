from pathlib import Path

import pytest

from tests.data.formats.folders import imported

FILES: dict[str, str | bytes] = {
    "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13883\n007\t52\t11690\n",
    "artists.dat": "id\tname\turl\tpictureURL\n"
    '51\tDuran "Duran"\thttp://x\thttp://y\n52\tMorcheeba, the\thttp://x\thttp://y\n'
    "53\tNobody\thttp://x\thttp://y\n",
    "tags.dat": "tagID\ttagValue\n1\tmétal\n2\tpop\n3\t51\n".encode("latin-1"),
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n"
    "2\t51\t1\t1\t4\t2009\n"
    "2\t51\t2\t1\t4\t2009\n"
    "3\t51\t2\t1\t4\t2009\n"
    "3\t51\t2\t1\t5\t2009\n"
    "2\t52\t3\t1\t4\t2009\n"
    "4\t52\t3\t1\t4\t2009\n"
    "4\t52\t99\t1\t4\t2009\n",
}


def test_listening_artists_and_tags_become_the_tables(tmp_path: Path) -> None:
    raw, report = imported(tmp_path, "hetrec", FILES)
    assert raw.interactions.to_pylist() == [
        {"user_id": "2", "item_id": "51", "rating": 13883.0},
        {"user_id": "007", "item_id": "52", "rating": 11690.0},
    ]
    assert raw.items is not None
    assert raw.items.to_pylist() == [
        {"item_id": "51", "name": 'Duran "Duran"', "tags": "pop, métal"},
        {"item_id": "52", "name": "Morcheeba, the", "tags": "51"},
        {"item_id": "53", "name": "Nobody", "tags": ""},
    ]
    assert raw.kg is not None
    assert raw.kg.to_pylist() == [
        {"head_id": "51", "relation_id": "tagged", "tail_id": "tag:pop"},
        {"head_id": "52", "relation_id": "tagged", "tail_id": "tag:51"},
    ]
    assert report.notes == [
        "the columns url, pictureURL of artists.dat are not used",
        "the columns day, month, year of user_taggedartists.dat are not used",
        "tags.dat is not UTF-8 and was read as Latin-1",
    ]


def test_tags_of_one_text_are_one_tag(tmp_path: Path) -> None:
    files = {**FILES, "tags.dat": "tagID\ttagValue\n1\tpop\n2\tpop\n3\trock\n"}
    raw, _ = imported(tmp_path, "hetrec", files)
    assert raw.items is not None
    assert raw.items["tags"][0].as_py() == "pop"


@pytest.mark.parametrize("count", [9, 12])
def test_text_names_the_ten_tags_that_most_users_gave(tmp_path: Path, count: int) -> None:
    """Tag n is given by n users."""
    head = str(FILES["user_taggedartists.dat"]).splitlines()[0]
    rows = [f"{user}\t51\t{tag}\t1\t1\t9" for tag in range(1, count + 1) for user in range(tag)]
    tags = [f"{tag}\tt{tag}" for tag in range(1, count + 1)]
    files = {
        **FILES,
        "tags.dat": "\n".join(["tagID\ttagValue", *tags]),
        "user_taggedartists.dat": "\n".join([head, *rows]),
    }
    raw, _ = imported(tmp_path, "hetrec", files)
    assert raw.items is not None
    expected = ", ".join(f"t{tag}" for tag in range(count, max(count - 10, 0), -1))
    assert raw.items["tags"][0].as_py() == expected
    assert raw.kg is not None
    assert len(raw.kg) == count - 1
