from dataclasses import asdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.knowledge_join import Knowledge, join_knowledge, no_knowledge
from slifmr_pl.data.vocabulary import Vocabulary

TRIPLE = st.tuples(st.sampled_from("abcdex"), st.sampled_from("rs"), st.sampled_from("abcdex"))


def graph(*triples: tuple[str, str, str]) -> pa.Table:
    names = ("head_id", "relation_id", "tail_id")
    return pa.table(
        {name: pa.array([t[i] for t in triples], pa.string()) for i, name in enumerate(names)}
    )


def linked(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table(
        {
            "item_id": pa.array([item for item, _ in pairs], pa.string()),
            "entity_id": pa.array([entity for _, entity in pairs], pa.string()),
        }
    )


def named(knowledge: Knowledge) -> list[tuple[str, str, str]]:
    triples = knowledge.triples
    return list(
        zip(
            knowledge.entities.decode(triples.heads),
            knowledge.relations.decode(triples.relations),
            knowledge.entities.decode(triples.tails),
            strict=True,
        )
    )


def test_linked_entities_take_the_rows_of_their_items() -> None:
    items = Vocabulary(["1", "2", "3"])
    knowledge = join_knowledge(
        items, graph(("m.x", "r", "m.b"), ("m.b", "s", "m.c")), linked(("2", "m.b"), ("9", "m.c"))
    )
    assert knowledge.entities.ids.to_pylist() == ["1", "2", "3", "m.c", "m.x"]
    assert named(knowledge) == [("2", "s", "m.c"), ("m.x", "r", "2")]
    summary = knowledge.summary
    assert (summary.linked_items, summary.unlinked_items) == (1, 2)
    assert (summary.links_read, summary.links_outside_catalogue) == (2, 1)


def test_without_links_equal_ids_are_the_same_thing() -> None:
    knowledge = join_knowledge(Vocabulary(["1", "2"]), graph(("1", "r", "x")), None)
    assert knowledge.entities.ids.to_pylist() == ["1", "2", "x"]
    assert named(knowledge) == [("1", "r", "x")]


def test_first_item_in_order_keeps_a_contested_entity() -> None:
    knowledge = join_knowledge(
        Vocabulary(["10", "2"]),
        graph(("m", "r", "x")),
        linked(("2", "m"), ("10", "m"), ("2", "m")),
    )
    assert named(knowledge) == [("10", "r", "x")]
    assert knowledge.summary.links_read == 2
    assert knowledge.summary.contested_links == 1
    assert knowledge.summary.unlinked_items == 1


def test_an_item_outside_the_catalogue_takes_no_entity() -> None:
    knowledge = join_knowledge(
        Vocabulary(["2"]), graph(("m", "r", "x")), linked(("1", "m"), ("2", "m"))
    )
    assert named(knowledge) == [("2", "r", "x")]
    assert knowledge.summary.contested_links == 0


def test_an_item_may_own_several_entities() -> None:
    knowledge = join_knowledge(
        Vocabulary(["1"]), graph(("m", "r", "x"), ("n", "r", "y")), linked(("1", "m"), ("1", "n"))
    )
    assert named(knowledge) == [("1", "r", "x"), ("1", "r", "y")]


def test_entities_that_share_an_items_id_by_chance_stay_apart() -> None:
    knowledge = join_knowledge(
        Vocabulary(["1", "2"]),
        graph(("1", "r", "2"), ("entity:2", "r", "7")),
        linked(("1", "2"), ("2", "7")),
    )
    # Entity 2 is item 1, entity 7 is item 2; entity 1 is neither, whatever its id looks like.
    assert named(knowledge) == [("entity:1", "r", "1"), ("entity:2", "r", "2")]
    assert knowledge.summary.renamed_entities == 1


def test_a_renamed_entity_never_gets_the_id_of_another() -> None:
    knowledge = join_knowledge(
        Vocabulary(["1"]), graph(("1", "r", "entity:1")), linked(("1", "unused"))
    )
    assert named(knowledge) == [("entity:entity:1", "r", "entity:1")]
    assert len(knowledge.entities) == 3


def test_repetitions_and_self_triples_are_dropped_and_counted() -> None:
    knowledge = join_knowledge(
        Vocabulary(["1"]),
        graph(("a", "r", "b"), ("a", "r", "b"), ("a", "r", "a"), ("m", "r", "n"), ("a", "s", "b")),
        linked(("1", "m"), ("1", "n")),
    )
    assert named(knowledge) == [("a", "r", "b"), ("a", "s", "b")]
    summary = asdict(knowledge.summary)
    assert (summary["triples_read"], summary["triples"]) == (5, 2)
    assert (summary["duplicate_triples"], summary["self_triples"]) == (1, 2)


def test_what_only_self_triples_have_gets_no_row() -> None:
    knowledge = join_knowledge(
        Vocabulary(["1"]), graph(("b", "r", "b"), ("m", "q", "n"), ("1", "s", "c")), None
    )
    assert knowledge.entities.ids.to_pylist() == ["1", "c", "m", "n"]
    assert knowledge.relations.ids.to_pylist() == ["q", "s"]
    assert named(knowledge) == [("1", "s", "c"), ("m", "q", "n")]


@given(triples=st.lists(TRIPLE, max_size=20), data=st.data())
def test_result_is_the_set_of_triples_in_any_order(
    triples: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    items = Vocabulary(["a", "b", "z"])
    shuffled = data.draw(st.permutations(triples))
    one, other = (join_knowledge(items, graph(*rows), None) for rows in (triples, shuffled))
    assert set(named(one)) == {t for t in triples if t[0] != t[2]}
    assert len(one.triples) == len(set(named(one)))
    assert one.entities == other.entities
    assert one.entities.decode(range(3)) == ["a", "b", "z"]
    assert one.summary == other.summary
    for name in ("heads", "relations", "tails"):
        assert np.array_equal(getattr(one.triples, name), getattr(other.triples, name))


def test_empty_graph_and_empty_links_leave_items_alone() -> None:
    items = Vocabulary(["1", "2"])
    for knowledge in (no_knowledge(items), join_knowledge(items, graph(), linked())):
        assert knowledge.entities == items
        assert len(knowledge.relations) == len(knowledge.triples) == 0
        assert knowledge.summary.unlinked_items == 2
