"""The items to extract features of: given as lists, or streamed from anywhere."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from feature_extraction.errors import FeatureError
from feature_extraction.items.images import ImageModality
from feature_extraction.items.input_files import Files, RawFile, open_files
from feature_extraction.items.raw_modality import raw_inputs
from feature_extraction.items.texts import TextModality, clean_text, is_unicode

IMAGE, TEXT = ImageModality.name, TextModality.name


@dataclass(frozen=True, slots=True, init=False)
class Item:
    """One item and its raw inputs.

    Args:
        id: Its id.
        text: Its text, cleaned; None where it has none. The same as ``inputs["text"]``.
        pictures: Its pictures. The same as ``inputs["image"]``.
        inputs: Raw inputs by the name of their raw modality; an item with several of one kind
            gets the mean of their features.
    """

    id: str
    inputs: dict[str, tuple[Any, ...]]

    def __init__(
        self,
        id: str,
        text: str | None = None,
        pictures: Sequence[RawFile] = (),
        inputs: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        given = {TEXT: () if text is None else (text,), IMAGE: pictures, **(inputs or {})}
        object.__setattr__(self, "id", id)
        kept = {name: tuple(values) for name, values in given.items() if len(values)}
        object.__setattr__(self, "inputs", kept)

    @property
    def text(self) -> str | None:
        """Its text; None where it has none."""
        return next(iter(self.inputs.get(TEXT, ())), None)

    @property
    def pictures(self) -> tuple[RawFile, ...]:
        """Its pictures."""
        return self.inputs.get(IMAGE, ())


class ItemSource(Protocol):
    """Items with distinct ids; every pass gives the same ones in the same order."""

    def __iter__(self) -> Iterator[Item]:
        """Start a pass over the items."""

    def files(self, modality: str) -> Files:
        """Where the files of a raw modality are, by its name."""


@dataclass(frozen=True)
class ItemInputs:
    """Raw inputs of n items, as lists.

    Args:
        ids: n distinct item ids.
        texts: One text per item; None, empty or only whitespace means that the item has none.
            HTML is taken out, see ``clean_text``. The same as ``inputs["text"]``.
        images: One image file, or its bytes, or several of these, per item; None or an empty
            name means that the item has none. The same as ``inputs["image"]``.
        image_root: Folder or archive that no image may lie outside of. None takes any path as
            it is: only for paths that do not come from user data. The same as ``roots["image"]``.
        inputs: Raw inputs by the name of their raw modality, one entry per item, see
            ``raw_inputs``.
        roots: Folder or archive by the name of a raw modality, as ``image_root``.

    Raises:
        FeatureError: Ids are empty, repeated or no strings; lengths differ; a text is no valid
            Unicode string; a folder does not exist.
    """

    ids: Sequence[str]
    texts: Sequence[str | None] | None = None
    images: Sequence[RawFile | Sequence[RawFile] | None] | None = None
    image_root: Path | None = None
    inputs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    roots: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_ids()
        for name, values in self._named().items():
            if len(values) != len(self.ids):
                raise FeatureError(
                    f"{len(values)} {name} inputs for {len(self.ids)} items",
                    expected="one entry per item, None where there is none",
                    fix=f"align the {name} inputs with ids",
                )
        for item, text in zip(self.ids, self._named().get(TEXT, ()), strict=False):
            for one in text if isinstance(text, tuple) else (text,):
                if one is not None and not (isinstance(one, str) and is_unicode(one)):
                    raise FeatureError(
                        f"the text of item {item!r} is {one!r}",
                        expected="a string of valid Unicode, or None",
                        fix="convert the texts first; missing values become None",
                    )
        _ = self._files

    def __iter__(self) -> Iterator[Item]:
        """Give the items one by one."""
        named = self._named()
        for row, item in enumerate(self.ids):
            raw = {name: raw_inputs(values[row]) for name, values in named.items()}
            if TEXT in raw:
                cleaned = (clean_text(text) for text in raw[TEXT])
                raw[TEXT] = tuple(text for text in cleaned if text)
            yield Item(item, inputs=raw)

    def files(self, modality: str) -> Files:
        """Where the files of a raw modality are."""
        return self._files.get(modality) or open_files([], modality)

    @cached_property
    def _files(self) -> dict[str, Files]:
        roots = {**self.roots, **({IMAGE: self.image_root} if self.image_root else {})}
        return {name: open_files([Path(root)], name) for name, root in roots.items()}

    def _named(self) -> dict[str, Sequence[Any]]:
        given = {TEXT: self.texts, IMAGE: self.images}
        return {**self.inputs, **{name: one for name, one in given.items() if one is not None}}

    def _check_ids(self) -> None:
        bad = [item for item in self.ids if not isinstance(item, str) or not item]
        twice = [item for item, count in Counter(self.ids).items() if count > 1]
        if bad or twice or not self.ids:
            found = f"the item id {bad[0]!r}" if bad else "no items"
            raise FeatureError(
                f"the item id {twice[0]!r} more than once" if twice and not bad else found,
                expected="distinct, non-empty strings as item ids",
                fix="mend the ids; each item has exactly one row",
            )
