"""Data that can be read and look wrong: said by `fit` and `inspect`, or refused."""

import logging
from pathlib import Path

import pytest

from slifmr_pl.cli import main
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import UserFacingError
from tests.data.formats.folders import write

HEADER = "user_id,item_id"


def built(root: Path, strategy: str = "ratio", **files: str) -> RecommendationData:
    contents = {f"{name}.csv": text for name, text in files.items()}
    write(root / "data", contents)
    return build_dataset(read(root / "data"), FilterConfig(), SplitConfig(strategy))


def said(data: RecommendationData) -> str:
    return "\n".join(map(str, data.summary.cautions))


def rated(*ratings: str) -> str:
    rows = (f"u{n % 3},i{n},{rating}\n" for n, rating in enumerate(ratings))
    return f"{HEADER},rating\n{''.join(rows)}"


def test_dislikes_that_train_as_likes_are_said(tmp_path: Path) -> None:
    data = built(tmp_path, interactions=rated("-1", "0", "0", "1"))
    assert "ratings: -1 (25%), 0 (50%), 1 (25%)" in str(data.summary)
    assert "3 of 4 interactions are rated 0 or less, and data.filters.minimum_rating is" in said(
        data
    )
    assert "they train as likes" in said(data)


@pytest.mark.parametrize(
    ("ratings", "part"),
    [
        (
            ("1", "5", "3"),
            "ratings differ, from 1 to 5, and data.filters.minimum_rating is",
        ),
        (("0", "1", "1"), "1 of 3 interactions are rated 0 or less"),
        (("5", "5", "5"), ""),
        (("0", "0", "0"), "3 of 3 interactions are rated 0 or less"),
    ],
)
def test_ratings_without_a_rule_are_said(
    tmp_path: Path, ratings: tuple[str, ...], part: str
) -> None:
    assert part in said(built(tmp_path, interactions=rated(*ratings)))
    assert bool(part) == ("minimum_rating" in said(built(tmp_path, interactions=rated(*ratings))))


def test_a_minimum_rating_answers_the_question(tmp_path: Path) -> None:
    write(tmp_path / "data", {"interactions.csv": rated("1", "5", "4")})
    data = build_dataset(read(tmp_path / "data"), FilterConfig(minimum_rating=4), SplitConfig())
    assert said(data) == ""
    assert data.summary.below_minimum_rating == 1


def test_many_ratings_are_summed_up(tmp_path: Path) -> None:
    data = built(tmp_path, interactions=rated(*map(str, range(1, 12))))
    assert "ratings from 1 to 11, half are at most 6" in str(data.summary)


@pytest.mark.parametrize("name", ["label", "event", "stars"])
def test_unread_column_that_may_be_a_rating_is_said(tmp_path: Path, name: str) -> None:
    data = built(tmp_path, interactions=f"{HEADER},{name}\na,1,0\nb,1,1\na,2,1\n")
    assert f"the column {name} of the interactions is not read" in said(data)


def test_fit_and_inspect_say_it_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "data", {"interactions.csv": rated("-1", "0", "0", "1")})
    with caplog.at_level(logging.WARNING, "slifmr_pl"):
        SlifMrDataModule(str(root), cache_dir=str(tmp_path / "cache")).setup("")
    assert "3 of 4 interactions are rated 0 or less" in caplog.text
    assert main(["inspect", str(root), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "! 3 of 4 interactions are rated 0 or less" in text
    assert "ratings: -1 (25%), 0 (50%), 1 (25%)" in text


def test_inspect_names_columns_that_nobody_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = f"{HEADER},label,device\na,1,0,x\nb,1,1,y\na,2,1,x\n"
    root = write(tmp_path / "data", {"interactions.csv": rows})
    assert main(["inspect", str(root), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "! the column label of the interactions is not read" in text
    assert "- the columns label, device of the interactions are not used" in text


ROWS = f"{HEADER}\n" + "".join(f"u{n % 4},{n}\n" for n in range(10))
FRACTIONS = f"{HEADER}\n" + "".join(f"u{n % 4},{n}.0\n" for n in range(10))


def titles(count: int) -> str:
    return "item_id,title\n" + "".join(f"{n},Title {n}\n" for n in range(count))


def facts(count: int) -> str:
    return "head_id,relation_id,tail_id\n" + "".join(f"{n},is,g{n % 3}\n" for n in range(count))


@pytest.mark.parametrize(
    ("files", "sides"),
    [
        ({"items": titles(10)}, "'0' stands there, '0.0' in the interactions"),
        ({"kg": facts(10)}, "'0' stands there, '0.0' in the interactions"),
        (
            {"kg": facts(10), "links": "item_id,entity_id\n1.0,e1\n"},
            "'0' stands there, 'e1' in the links",
        ),
        (
            {"kg": facts(10), "links": "item_id,entity_id\n1,1\n"},
            "'1' stands there, '0.0' in the interactions",
        ),
    ],
)
def test_tables_with_nothing_in_common_are_refused(
    tmp_path: Path, files: dict[str, str], sides: str
) -> None:
    with pytest.raises(UserFacingError, match="no item") as caught:
        built(tmp_path, interactions=FRACTIONS, **files)
    assert sides in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "fix"),
    [
        (FRACTIONS, "write whole numbers in both files: 12.0 is another id than 12"),
        (ROWS.replace(",", ",i").replace("iitem", "item"), "write the ids alike in both files"),
    ],
)
def test_ids_that_do_not_meet_are_told_why(tmp_path: Path, rows: str, fix: str) -> None:
    with pytest.raises(UserFacingError, match="no item of the item table") as caught:
        built(tmp_path, interactions=rows, items=titles(10))
    assert caught.value.fix.startswith(fix)
    assert ("--whole-ids" in caught.value.fix) is (rows is FRACTIONS)


def test_a_small_overlap_is_said(tmp_path: Path) -> None:
    links = "item_id,entity_id\n1,1\n2,2\n"
    data = built(tmp_path, interactions=ROWS, items=titles(4), kg=facts(10), links=links)
    assert (
        "only 4 of the 10 items with interactions are in the item table; '4' is not, '0'"
        in said(data)
    )
    assert "only 2 of the 10 items with interactions are in the links; '0' is not" in said(data)


def test_half_an_overlap_is_no_caution(tmp_path: Path) -> None:
    assert said(built(tmp_path, interactions=ROWS, items=titles(5))) == ""


def test_whole_numbers_written_as_fractions_are_said(tmp_path: Path) -> None:
    assert "every item_id is a whole number written as a fraction, such as '0.0'" in said(
        built(tmp_path, interactions=FRACTIONS)
    )
    some = FRACTIONS + "u1,x\n"
    assert "fraction" not in said(built(tmp_path, interactions=some))


def test_ids_that_a_spreadsheet_rounded_are_said(tmp_path: Path) -> None:
    data = built(tmp_path, interactions=f"{HEADER}\na,9.78E+12\nb,1\na,2\n")
    assert "1 ids in item_id look like numbers that a spreadsheet rounded, such as '9.78E" in said(
        data
    )


def test_texts_and_ids_that_stand_for_nothing_are_said(tmp_path: Path) -> None:
    items = "item_id,title,brand\n" + "".join(
        f"{n},{text},ok\n" for n, text in enumerate(("nan", "None", "N/A", "A Nanny", "NULL "))
    )
    interactions = ROWS + "None,1\n"
    text = said(built(tmp_path, interactions=interactions, items=items))
    assert "4 items have a title such as 'N/A'" in text
    assert "brand" not in text
    assert "user_id is 'None' in some rows" in text


def parts(test_users: str) -> str:
    train = "".join(f"u{n % 4},{n},train\n" for n in range(8))
    return f"{HEADER},split\n{train}" + "".join(f"{user},9,test\n" for user in test_users.split())


def test_given_parts_without_a_common_user_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserFacingError, match="no user of the test part") as caught:
        built(tmp_path, "given", interactions=parts("v0 v1"))
    assert "'v0' stands there, 'u0' in training" in str(caught.value)


def test_given_parts_with_few_common_users_are_said(tmp_path: Path) -> None:
    data = built(tmp_path, "given", interactions=parts("v0 v1 u0"))
    assert "2 of the 3 users of the test part have no training interaction, such as 'v0'" in said(
        data
    )


def test_pairs_in_several_parts_are_said_where_the_parts_count(tmp_path: Path) -> None:
    rows = parts("u0 u1 u2") + "u0,0,test\nu1,1,valid\nu1,1,test\nu2,2,train\n"
    expected = "2 pairs of user and item are in more than one part of the data's own split"
    assert expected in said(built(tmp_path, "given", interactions=rows))
    assert expected not in said(built(tmp_path, "ratio", interactions=rows))
    assert expected not in said(built(tmp_path, "given", interactions=parts("u0 u1 u2")))


def test_given_parts_are_those_of_the_data(tmp_path: Path) -> None:
    rows = parts("u0 u1 u2") + "u0,8,validation\nu1,3,val\nu2,9,train\n"
    data = built(tmp_path, "given", interactions=rows)
    pairs = {
        name: set(zip(data.users.decode(part.users), data.items.decode(part.items), strict=True))
        for name, part in (("train", data.train), ("valid", data.valid), ("test", data.test))
    }
    trained = {(f"u{n % 4}", str(n)) for n in range(8)}
    assert pairs == {
        "train": trained | {("u2", "9")},  # in two parts: the first of them
        "valid": {("u0", "8"), ("u1", "3")},
        "test": {("u0", "9"), ("u1", "9")},
    }
    assert data.summary.valid_carved_from_train == 0


def timed(times: str, share: float = 0.1) -> SlifMrDataModule:
    rows = "".join(f"u{n % 2},{n},{time}\n" for n, time in enumerate(times))
    root = write(Path(), {"interactions.csv": f"{HEADER},timestamp\n{rows}"})
    split = SplitConfig("temporal", (0.9 - share, share, 0.1))
    return SlifMrDataModule(str(root), split=split, cache_dir="cache")


@pytest.mark.parametrize(
    ("times", "stage", "why"),
    [
        ("0000000000", "fit", "have the same time as the last row before"),
        ("0123456777", "fit", "have the same time as the last row before"),
        ("0123456788", "test", "have the same time as the last row before"),
        ("012", "fit", "a share of 0.1 of 3 rows is less than one"),
    ],
)
def test_empty_part_of_a_split_by_time_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: str, stage: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserFacingError, match="part of the split is empty") as caught:
        timed(times).setup(stage)
    assert why in caught.value.found


@pytest.mark.parametrize(("strategy", "why"), [("given", "the data put no row into test")])
def test_empty_part_of_a_given_split_says_why(tmp_path: Path, strategy: str, why: str) -> None:
    rows = f"{HEADER},split\na,1,train\na,2,valid\n"
    root = write(tmp_path / "data", {"interactions.csv": rows})
    module = SlifMrDataModule(
        str(root), split=SplitConfig("given"), cache_dir=str(tmp_path / "cache")
    )
    with pytest.raises(UserFacingError, match=why):
        module.setup("test")
