"""An export, opened for questions by raw ids."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slifmr_pl.errors import DataError
from slifmr_pl.serving.service.export_files import map_tensors, read_columns
from slifmr_pl.serving.service.rankings import ListRanking, Ranked, Ranking, VectorRanking, best
from slifmr_pl.serving.service.sorted_ids import SortedIds

FORMAT = "slifmr-export-1"
_ALWAYS = ("model", "checkpoint", "data_fingerprint")  # what every manifest says


@dataclass(frozen=True)
class Allowed:
    """Which items an answer may list.

    Attributes:
        mask: bool [I]; None for all.
        unknown: Ids of the question that the export does not know.
    """

    mask: npt.NDArray[np.bool_] | None
    unknown: list[str]


class ServedExport:
    """What `slifmr export` wrote; it does not change once it is open.

    Args:
        folder: Of the export, or a link to it.

    Attributes:
        manifest: Its manifest.
        version: Of the export: 12 hexadecimal digits of a hash of its manifest, which holds one of
            the content.
        loaded_at: When, UTC.
        users: Raw ids.
        items: Raw ids; new items come last.
        ranking: What ranks them.

    Raises:
        DataError: If the folder holds no whole export.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()  # a link may point elsewhere before all is read
        self.manifest, self.version = _manifest(folder)
        self.loaded_at = datetime.now(UTC)
        users, items = (
            read_columns(folder / f"{name}s.parquet", [f"{name}_id"])[0].combine_chunks()
            for name in ("user", "item")
        )
        self.users, self.items = SortedIds(users), SortedIds(items)
        is_lists = "list_length" in self.manifest
        name = "seen.safetensors" if is_lists else "embeddings.safetensors"
        tensors = map_tensors(folder / name)
        self.ranking: Ranking = (
            ListRanking(folder, users, items)
            if is_lists
            else VectorRanking(folder, self.manifest, tensors)
        )
        self._n_trained = len(items) - self.manifest.get("new_items", 0)
        self._popularity = np.bincount(tensors["seen_items"], minlength=len(items))

    def allowed(
        self, candidates: Iterable[str] | None, blocked: Iterable[str], *, only_new: bool
    ) -> Allowed:
        """Resolves the filters of a question.

        Args:
            candidates: Raw ids that alone may be listed; None for all.
            blocked: Raw ids that may not, candidates or not.
            only_new: Whether nothing but items that came after training may be listed.
        """
        chosen, not_chosen = (None, []) if candidates is None else self.items.rows(candidates)
        left_out, not_left_out = self.items.rows(blocked)
        unknown = list(dict.fromkeys([*not_chosen, *not_left_out]))
        if chosen is None and not len(left_out) and not only_new:
            return Allowed(None, unknown)
        mask = np.full(len(self.items), chosen is None)
        if chosen is not None:
            mask[chosen] = True
        mask[left_out] = False
        if only_new:
            mask[: self._n_trained] = False
        return Allowed(mask, unknown)

    def trained(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of some rows that training has seen."""
        some: npt.NDArray[np.int64] = items[items < self._n_trained]
        return some

    def popular(self, k: int, allowed: Allowed, known: npt.NDArray[np.int64]) -> Ranked:
        """The items that most users have, with their number; without `known` rows."""
        counts = self._popularity.astype(np.float64)
        counts[known] = -np.inf
        return best(counts, k, allowed.mask)


def _manifest(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / "manifest.json"
    try:
        content = path.read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        if manifest.get("format") != FORMAT:
            raise ValueError(f"its format is {manifest.get('format')!r}")
        size = "list_length" if "list_length" in manifest else "representation_dim"
        if absent := [name for name in (*_ALWAYS, size) if name not in manifest]:
            raise ValueError(f"its manifest lacks {', '.join(absent)}")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"no export ({error})",
            expected=f"a folder that `slifmr export` wrote, of format {FORMAT}",
            fix="slifmr export CKPT FOLDER",
            path=path,
        ) from error
    return manifest, hashlib.sha256(content).hexdigest()[:12]
