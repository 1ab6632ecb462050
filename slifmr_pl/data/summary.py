"""Accounts of what the data lost and kept on its way from files to rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnowledgeSummary:
    """What became of the triples and links.

    Attributes:
        triples_read: Rows of the knowledge graph.
        duplicate_triples: Repetitions dropped.
        self_triples: Triples of an entity with itself, dropped.
        triples: Triples kept.
        links_read: Distinct links.
        links_outside_catalogue: Links of items that are not in the catalogue.
        contested_links: Links dropped, because the entity went to an item sorted before.
        linked_items: Items of the catalogue that occur in a triple kept.
        unlinked_items: The others; they stay in the catalogue.
        renamed_entities: Entities told apart from an item that has the same id by chance.
    """

    triples_read: int = 0
    duplicate_triples: int = 0
    self_triples: int = 0
    triples: int = 0
    links_read: int = 0
    links_outside_catalogue: int = 0
    contested_links: int = 0
    linked_items: int = 0
    unlinked_items: int = 0
    renamed_entities: int = 0


@dataclass(frozen=True)
class DataSummary:
    """What became of every row; all are counts.

    Attributes:
        interactions_read: Rows of the interactions.
        below_minimum_rating: Rows dropped for their rating.
        duplicates: Rows dropped because their pair has an earlier one.
        outside_k_core: Rows dropped by the k-core.
        interactions: Rows kept: train + valid + test.
        users: Users kept.
        items: Items of the catalogue.
        train: Training rows.
        valid: Validation rows.
        test: Test rows.
        valid_carved_from_train: Rows moved because the data gives no validation part.
        given_split_unused: Rows whose given part was not used, by choice of another strategy.
        users_without_train: Users that nothing can be learnt of.
        users_without_valid: Users left out of validation.
        users_without_test: Users left out of the test.
        cold_items: Items of the catalogue without a training row.
        items_without_metadata: Items of the catalogue that the item table lacks.
        metadata_outside_catalogue: Rows of the item table for no item of the catalogue.
        knowledge: The same of triples and links.
    """

    interactions_read: int
    below_minimum_rating: int
    duplicates: int
    outside_k_core: int
    interactions: int
    users: int
    items: int
    train: int
    valid: int
    test: int
    valid_carved_from_train: int
    given_split_unused: int
    users_without_train: int
    users_without_valid: int
    users_without_test: int
    cold_items: int
    items_without_metadata: int
    metadata_outside_catalogue: int
    knowledge: KnowledgeSummary
