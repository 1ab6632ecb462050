from pathlib import Path

import pytest

from tests.data.formats.folders import imported

FLAGS = "|".join("1" if genre in (1, 5) else "0" for genre in range(19))
CASES: dict[str, dict[str, str | bytes]] = {
    "100K": {
        "u.data": "1\t242\t3\t881250949\n007\t302\t4.5\t891717742\n",
        "u.item": f"242|Amélie, the (1997)|24-Jan-1997||http://x|{FLAGS}\n".encode("latin-1"),
    },
    "1M": {
        "ratings.dat": "1::242::3::881250949\n007::302::4.5::891717742\n",
        "movies.dat": "242::Amélie, the (1997)::Action|Comedy\n".encode("latin-1"),
    },
    "20M": {
        "ratings.csv": "userId,movieId,rating,timestamp\n"
        "1,242,3,881250949\n007,302,4.5,891717742\n",
        "movies.csv": 'movieId,title,genres\n242,"Amélie, the (1997)",Action|Comedy\n',
        "links.csv": "movieId,imdbId,tmdbId\n242,1,2\n",
    },
}


@pytest.mark.parametrize("edition", CASES)
def test_every_edition_gives_the_same_tables(tmp_path: Path, edition: str) -> None:
    raw, report = imported(tmp_path, "movielens", CASES[edition])
    assert raw.interactions.to_pylist() == [
        {"user_id": "1", "item_id": "242", "rating": 3.0, "timestamp": 881250949.0},
        {"user_id": "007", "item_id": "302", "rating": 4.5, "timestamp": 891717742.0},
    ]
    assert raw.items is not None
    assert raw.items.to_pylist() == [
        {"item_id": "242", "title": "Amélie, the (1997)", "genres": "Action, Comedy"}
    ]
    assert raw.links is None
    assert any("Latin-1" in note for note in report.notes) == (edition != "20M")
