import re

import pytest
import torch

from slifmr_pl.checkpoints.validation import check_tensors
from slifmr_pl.errors import CheckpointError
from slifmr_pl.models.feature_graph import KeptItemGraph, degree_normalised, neighbours_with_self
from slifmr_pl.models.freedom import Freedom
from slifmr_pl.models.graph_peer import GraphPeer
from slifmr_pl.models.lattice import Lattice
from slifmr_pl.models.mgcn import Mgcn
from tests.models.references import ITEMS, small_inputs


def test_items_without_a_direction_have_no_neighbours_and_are_nobodys() -> None:
    features = torch.tensor([[1.0, 0], [0, 0], [1, 1], [0, 1], [2, 1]])
    present = torch.tensor([True, True, True, False, True])
    nearest = neighbours_with_self(features, present, 3)
    assert nearest.indices.tolist() == [[0, 4, 2], [-1] * 3, [2, 4, 0], [-1] * 3, [4, 2, 0]]
    assert nearest.weights[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert degree_normalised(*nearest)[1].tolist() == [0, 0, 0]


def test_graph_is_made_anew_when_its_entries_change() -> None:
    kept, other = KeptItemGraph(3, 2), KeptItemGraph(3, 2)
    columns = torch.tensor([[0, 1], [2, -1], [-1, -1]])
    kept.keep(columns, torch.tensor([[1.0, 2], [3, 0], [0, 0]]))
    dense = torch.tensor([[1.0, 2, 0], [0, 0, 3], [0, 0, 0]])
    assert torch.equal(kept.graph.forward @ torch.eye(3), dense)
    assert torch.equal(kept.graph.backward @ torch.eye(3), dense.T)
    other.keep(columns.flip(0), torch.ones(3, 2))
    assert not torch.equal(other.graph.forward @ torch.eye(3), dense)
    other.load_state_dict(kept.state_dict())
    assert torch.equal(other.graph.forward @ torch.eye(3), dense)


@pytest.mark.parametrize("kind", [Freedom, Lattice, Mgcn])
def test_neighbours_that_are_no_items_are_refused(kind: type[GraphPeer]) -> None:
    model = kind(4)
    model.connect(small_inputs())
    assert model.row_buffers
    for name in model.row_buffers:
        state = {key: value.clone() for key, value in model.state_dict().items()}
        check_tensors(model, state, dict.fromkeys(model.row_buffers, ITEMS))
        state[name][0, 0] = ITEMS
        with pytest.raises(CheckpointError, match=re.escape(name)):
            check_tensors(model, state, dict.fromkeys(model.row_buffers, ITEMS))
