"""Who and what the rows of a model are: what a checkpoint needs to be used with raw ids."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary

_VOCABULARIES = ("users", "items", "other_entities", "relations")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Raw ids of all rows, and what users know beyond the training interactions.

    Attributes:
        users: Users.
        items: Items.
        entities: Entities of the knowledge graph, items first.
        relations: Relations of the knowledge graph; a model has each of them in both directions.
        held_out: Validation and test interactions: not trained on, but known to the users.
    """

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    held_out: Interactions

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the vocabularies, as in `RecommendationData.vocabulary_fingerprint`."""
        digest = hashlib.sha256()
        for vocabulary in (self.users, self.items, self.entities, self.relations):
            digest.update(vocabulary.fingerprint().encode())
        return digest.hexdigest()

    @cached_property
    def state(self) -> dict[str, Any]:
        """Tensors only, for a checkpoint: reading a million Python strings would take seconds."""
        others = self.entities.ids[len(self.items) :]
        ids = (self.users.ids, self.items.ids, others, self.relations.ids)
        return {name: _packed(part) for name, part in zip(_VOCABULARIES, ids, strict=True)} | {
            "held_out_users": torch.from_numpy(self.held_out.users).int(),
            "held_out_items": torch.from_numpy(self.held_out.items).int(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Catalogue":
        """The catalogue that `state` described.

        Raises:
            KeyError: If a part is missing.
            ValueError: If a part does not hold ids (as Arrow's and this package's own errors do).
            DataError: If an id occurs more than once.
        """
        users, items, others, relations = (_unpacked(state[name]) for name in _VOCABULARIES)
        return cls(
            Vocabulary(users),
            Vocabulary(items),
            Vocabulary(pa.concat_arrays([items, others])),
            Vocabulary(relations),
            Interactions(
                state["held_out_users"].long().cpu().numpy(),
                state["held_out_items"].long().cpu().numpy(),
            ),
        )


def _packed(ids: pa.StringArray) -> dict[str, Tensor]:
    text = bytearray("".join(ids.to_pylist()).encode())
    lengths = pc.binary_length(ids).to_numpy(zero_copy_only=False).astype(np.int32)
    # frombuffer refuses a buffer of no bytes.
    characters = torch.frombuffer(text, dtype=torch.uint8) if text else torch.empty(0).byte()
    return {"characters": characters, "lengths": torch.from_numpy(lengths)}


def _unpacked(packed: Mapping[str, Tensor]) -> pa.StringArray:
    lengths, characters = packed["lengths"].cpu(), packed["characters"].cpu()
    if (
        (lengths.dtype, characters.dtype) != (torch.int32, torch.uint8)
        or bool((lengths < 0).any())
        or int(lengths.sum()) != len(characters)
    ):
        raise ValueError("lengths of ids that are not those of their characters")
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths.numpy(), out=offsets[1:])
    ids = pa.StringArray.from_buffers(
        len(lengths), pa.py_buffer(offsets), pa.py_buffer(characters.contiguous().numpy())
    )
    ids.validate(full=True)  # UTF-8
    return ids
