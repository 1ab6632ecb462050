"""Accounts of what the data lost and kept on its way from files to rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """Something that may mislead results unless a person decides.

    Attributes:
        found: What there is.
        effect: What training does with it, and what could be done.
    """

    found: str
    effect: str

    def __str__(self) -> str:
        return f"{self.found}: {self.effect}"


@dataclass(frozen=True)
class Ratings:
    """How the interactions are rated, before any is left out.

    Attributes:
        lowest: Lowest rating.
        highest: Highest rating.
        median: Half of the rows are rated no higher.
        rows: Number of interactions.
        not_positive: Those rated 0 or less.
        counts: Each rating with its number of rows, ascending; empty where there are many.
    """

    lowest: float
    highest: float
    median: float
    rows: int
    not_positive: int
    counts: tuple[tuple[float, int], ...]

    def __str__(self) -> str:
        """A line for a person."""
        if not self.counts:
            return (
                f"ratings from {self.lowest:g} to {self.highest:g}, "
                f"half are at most {self.median:g}"
            )
        shares = (f"{value:g} ({count / self.rows:.0%})" for value, count in self.counts)
        return f"ratings: {', '.join(shares)}"


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
        ratings: How the interactions are rated; None without ratings.
        cautions: What may mislead results unless a person decides.
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
    ratings: Ratings | None = None
    cautions: tuple[Caution, ...] = ()

    def __str__(self) -> str:
        """Three to five lines that a person reads before training; zeros are left out."""
        lines = [
            f"{self.interactions_read} interactions read, {self.interactions} kept"
            + _notes(
                (self.below_minimum_rating, "below the minimum rating"),
                (self.duplicates, "duplicates"),
                (self.outside_k_core, "outside the k-core"),
            ),
            f"{self.users} users, {self.items} items"
            + _notes(
                (self.cold_items, "items without training interactions"),
                (self.items_without_metadata, "items without metadata"),
                (self.users_without_train, "users without training interactions"),
            ),
            f"{self.train} train, {self.valid} valid, {self.test} test"
            + _notes(
                (self.valid_carved_from_train, "valid carved from train"),
                (self.given_split_unused, "given labels unused"),
                (self.users_without_valid, "users not in valid"),
                (self.users_without_test, "users not in test"),
            ),
        ]
        if self.ratings is not None:
            lines.insert(1, str(self.ratings))
        knowledge = self.knowledge
        if knowledge.triples_read:
            lines.append(
                f"{knowledge.triples} triples; {knowledge.linked_items} of the items linked"
                + _notes(
                    (knowledge.duplicate_triples, "duplicate triples dropped"),
                    (knowledge.self_triples, "self triples dropped"),
                    (knowledge.contested_links, "links to an entity that another item owns"),
                    (knowledge.links_outside_catalogue, "links of items not in the catalogue"),
                    (knowledge.renamed_entities, "entities renamed"),
                )
            )
        return "\n".join(lines)


def _notes(*counts: tuple[int, str]) -> str:
    notes = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f" ({notes})" if notes else ""
