"""Items that an export gets beside those of training: ids, features and facts from files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from feature_extraction import FeatureStore
from feature_extraction.tables.table_files import read_table
from slifmr_pl.data.table_columns import FileRows, id_column
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

_FACT = ("head_id", "relation_id", "tail_id")


@dataclass(frozen=True)
class ItemAdditions:
    """Files about the grown catalogue: what they say of known items is known already.

    Attributes:
        items: A table with `item_id`; the ids that the model does not know are added.
        stores: Folders of feature stores that hold known and new items.
        facts: A table with `head_id`, `relation_id`, `tail_id`; None for no facts. Those with a
            new item at one end are used.
    """

    items: Path
    stores: Sequence[Path] = field(default_factory=tuple)
    facts: Path | None = None

    def new_ids(self, known: Vocabulary) -> list[str]:
        """The ids that a model does not know, each once, in the order of the file.

        Raises:
            TableError: If the table cannot be read.
            DataError: If it holds no new id.
        """
        ids = id_column(
            read_table(self.items, required=["item_id"]), "item_id", FileRows(self.items)
        )
        rows = known.encode(ids, unknown=-1)
        new = list(dict.fromkeys(ids.filter(rows < 0).to_pylist()))
        if not new:
            raise DataError(
                f"the model knows all {len(ids)} items",
                expected="items that came after training",
                fix="leave --new-items out, or name the table of the grown catalogue",
                path=self.items,
            )
        return new

    def opened_stores(self) -> Mapping[str, FeatureStore]:
        """The feature stores by their folders."""
        return {str(path): FeatureStore.open(path) for path in self.stores}

    def facts_of(self, new_ids: Sequence[str]) -> list[tuple[str, str, str]]:
        """The facts with a new item at one end.

        Raises:
            TableError: If the table cannot be read.
            DataError: If none of its facts is of a new item.
        """
        if self.facts is None:
            return []
        table, place = read_table(self.facts, required=_FACT), FileRows(self.facts)
        columns = (id_column(table, name, place).to_pylist() for name in _FACT)
        new = set(new_ids)
        facts = [fact for fact in zip(*columns, strict=True) if fact[0] in new or fact[2] in new]
        if not facts:
            raise DataError(
                f"none of the {len(table)} facts is of a new item",
                expected="facts with a new item as head or tail",
                fix="leave --facts out, or name the facts of the grown catalogue",
                path=self.facts,
            )
        return facts
