"""The items to extract features of: given as lists, or streamed from anywhere."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from feature_extraction.errors import FeatureError
from feature_extraction.items.pictures import Picture, Pictures, open_pictures
from feature_extraction.items.texts import clean_text


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Args:
        id: Its id.
        text: Its text, cleaned; None where it has none.
        pictures: Its pictures; an item with several gets the mean of their features.
    """

    id: str
    text: str | None = None
    pictures: tuple[Picture, ...] = ()


class ItemSource(Protocol):
    """Items with distinct ids; every pass gives the same ones in the same order."""

    def __iter__(self) -> Iterator[Item]:
        """Start a pass over the items."""

    @property
    def pictures(self) -> Pictures:
        """Where the pictures are."""


@dataclass(frozen=True)
class ItemInputs:
    """Raw inputs of n items, as lists.

    Args:
        ids: n distinct item ids.
        texts: One text per item; None, empty or only whitespace means that the item has none.
            HTML is taken out, see ``clean_text``.
        images: One image file, or its bytes, or several of these, per item; None or an empty
            name means that the item has none.
        image_root: Folder or archive that no image may lie outside of. None takes any path as
            it is: only for paths that do not come from user data.

    Raises:
        FeatureError: Ids are empty, repeated or no strings; lengths differ; a text is no valid
            Unicode string; the image folder does not exist.
    """

    ids: Sequence[str]
    texts: Sequence[str | None] | None = None
    images: Sequence[Picture | Sequence[Picture] | None] | None = None
    image_root: Path | None = None

    def __post_init__(self) -> None:
        self._check_ids()
        for what, values in (("texts", self.texts), ("images", self.images)):
            if values is not None and len(values) != len(self.ids):
                raise FeatureError(
                    f"{len(values)} {what} for {len(self.ids)} items",
                    expected=f"one entry of {what} per item, None where there is none",
                    fix=f"align {what} with ids",
                )
        for item, text in zip(self.ids, self.texts or (), strict=False):
            if text is not None and not (isinstance(text, str) and is_unicode(text)):
                raise FeatureError(
                    f"the text of item {item!r} is {text!r}",
                    expected="a string of valid Unicode, or None",
                    fix="convert the texts first; missing values become None",
                )
        _ = self.pictures

    def __iter__(self) -> Iterator[Item]:
        """Give the items one by one."""
        for row, item in enumerate(self.ids):
            text = None if self.texts is None else self.texts[row]
            images = None if self.images is None else self.images[row]
            yield Item(item, clean_text(text or "") or None, picture_tuple(images))

    @cached_property
    def pictures(self) -> Pictures:
        """Where the images are."""
        return open_pictures([] if self.image_root is None else [Path(self.image_root)])

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


def picture_tuple(pictures: Picture | Sequence[Picture] | None) -> tuple[Picture, ...]:
    """Return the pictures of an item, empty names left out."""
    if pictures is None or isinstance(pictures, Path | str | bytes):
        pictures = [] if pictures is None else [pictures]
    # Bytes count as they are: an image of no bytes is a failure, not a missing one.
    return tuple(one for one in pictures if isinstance(one, bytes) or str(one).strip())


def is_unicode(text: str) -> bool:
    """Whether a string is valid Unicode: half of a surrogate pair is not, and breaks tokenizers."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
