"""Building the normalised interaction graph against SciPy: time, memory, growth."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks import ours
from benchmarks.baselines import coo_adjacency
from benchmarks.data import InteractionData, power_law_interactions
from benchmarks.harness import Prepared, Report, Variant, bandwidth_limit, compare
from benchmarks.report import readable_bytes
from benchmarks.settings import Settings
from slifmr_pl.data.interactions import Interactions

OURS, STOCK = "ours", "SciPy blocks and diagonals, to COO"


def benchmark(settings: Settings) -> Iterator[Report]:
    times: dict[str, list[float]] = {OURS: [], STOCK: []}
    sizes = (2_000, 20_000) if settings.quick else (1_000_000, 10_000_000)
    for size in sizes:
        report = _build(size, settings)
        for name, seconds in times.items():
            seconds.append(report.row(name).measured)
        if len(times[OURS]) > 1:
            growth = math.log(sizes[-1] / sizes[0])
            exponents = {name: math.log(t[-1] / t[0]) / growth for name, t in times.items()}
            text = ", ".join(f"{name} n^{value:.2f}" for name, value in exponents.items())
            remark = f"Growth of the time from {sizes[0]:,} to {sizes[-1]:,}: {text}"
            report = replace(
                report,
                figures={**report.figures, "exponents": exponents},
                remarks=[*report.remarks, remark],
            )
        yield report


def grown(size: int) -> InteractionData:
    """Training interactions that are generated with the users and items that go with their number.

    The proportions are those of amazon-book: 12 interactions a user, 34 an item.
    """
    n_users, n_items = size // 12, size // 34
    nothing = np.empty(0, np.int64)
    return InteractionData(
        "generated",
        n_users,
        n_items,
        power_law_interactions(n_users, n_items, size),
        Interactions(nothing, nothing),
    )


def _build(size: int, settings: Settings) -> Report:
    data = grown(size)
    nodes, device = data.n_users + data.n_items, settings.device
    dense = torch.randn(nodes, 4, generator=torch.Generator().manual_seed(0)).to(device)
    report = compare(
        f"Normalised interaction graph ({data.title})",
        [
            Variant(
                OURS,
                lambda: Prepared(
                    lambda: ours.interaction_graph(data, device),
                    lambda: torch.cat(
                        ours.interaction_graph(data, device).propagate(
                            *dense.split([data.n_users, data.n_items])
                        )
                    ).cpu(),
                ),
            ),
            Variant(
                STOCK,
                lambda: Prepared(
                    lambda: coo_adjacency(data, device),
                    lambda: torch.sparse.mm(coo_adjacency(data, device), dense).cpu(),
                ),
            ),
        ],
        settings,
        # Pairs are read; columns, values and offsets are written.
        limits=[bandwidth_limit(16 * size + 16 * size + 4 * nodes, settings, "read, write")],
    )
    csr_bytes, edge_bytes = 16 * size + 4 * nodes, 40 * size
    rows = [
        row
        if row.memory is None
        else replace(row, note=f"{row.memory / edge_bytes:.1f} × the edge arrays")
        for row in report.rows
    ]
    remark = (
        f"Edge arrays (row, column, value: 20 bytes an edge): {readable_bytes(edge_bytes)}; the "
        f"finished CSR graph (8 bytes an edge): {readable_bytes(csr_bytes)}."
    )
    figures = {"edge array bytes": edge_bytes, "CSR bytes": csr_bytes}
    return replace(report, rows=rows, figures=figures, remarks=[remark])
