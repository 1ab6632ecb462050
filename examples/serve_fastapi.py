"""A small service on the files of `slifmr export`.

    pip install fastapi uvicorn numpy pyarrow safetensors
    python examples/serve_fastapi.py EXPORT_FOLDER --port 8000

It needs neither torch nor slifmr_pl. Copy it and make it yours.
"""

import argparse
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI, HTTPException, Query
from safetensors.numpy import load_file


class Model:
    """Exact lists from the exported embeddings.

    Args:
        folder: What `export` wrote.
    """

    def __init__(self, folder: Path) -> None:
        tensors = load_file(folder / "embeddings.safetensors")
        self.users, self.items = tensors["users"], tensors["items"]
        self.offsets, self.seen = tensors["seen_offsets"], tensors["seen_items"]
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        own = self.items[:, : manifest["representation_dim"]]  # the rest is the regression
        self.directions = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
        user_ids = pq.read_table(folder / "users.parquet", columns=["user_id"])["user_id"]
        self.item_ids = pq.read_table(folder / "items.parquet", columns=["item_id"])[
            "item_id"
        ].to_pylist()
        self.user_rows = {raw: row for row, raw in enumerate(user_ids.to_pylist())}
        self.item_rows = {raw: row for row, raw in enumerate(self.item_ids)}

    def recommend(
        self, user: int, k: int, blocked: list[int], *, exclude_seen: bool = True
    ) -> list[dict[str, str | float]]:
        """The k best items of a user's row."""
        scores = self.items @ self.users[user]
        if exclude_seen:
            scores[self.seen[self.offsets[user] : self.offsets[user + 1]]] = -np.inf
        scores[blocked] = -np.inf
        return self._best(scores, k)

    def similar(self, item: int, k: int) -> list[dict[str, str | float]]:
        """The k items of highest cosine with an item's row."""
        scores = self.directions @ self.directions[item]
        scores[item] = -np.inf
        return self._best(scores, k)

    def _best(self, scores: np.ndarray, k: int) -> list[dict[str, str | float]]:
        some = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        # The lower row first where scores are equal, as `predict` does.
        rows = some[np.lexsort((some, -scores[some]))]
        return [
            {"item_id": self.item_ids[row], "score": float(scores[row])}
            for row in rows
            if np.isfinite(scores[row])
        ]


def service(model: Model) -> FastAPI:
    """The routes; /docs describes them."""
    app = FastAPI(title="Recommendations")

    def row(rows: dict[str, int], kind: str, raw: str) -> int:
        if raw not in rows:
            raise HTTPException(404, f"{kind} {raw!r} is not known")
        return rows[raw]

    @app.get("/health")
    def health() -> dict[str, int]:
        return {"users": len(model.users), "items": len(model.items)}

    @app.get("/recommendations")
    def recommendations(
        user_id: str,
        k: Annotated[int, Query(ge=1, le=1000)] = 20,
        exclude_seen: bool = True,
        blocked: Annotated[list[str], Query()] = [],  # noqa: B006  # FastAPI copies it
    ) -> list[dict[str, str | float]]:
        user = row(model.user_rows, "user", user_id)
        rows = [row(model.item_rows, "item", raw) for raw in blocked]
        return model.recommend(user, k, rows, exclude_seen=exclude_seen)

    @app.get("/similar")
    def similar(
        item_id: str, k: Annotated[int, Query(ge=1, le=1000)] = 20
    ) -> list[dict[str, str | float]]:
        return model.similar(row(model.item_rows, "item", item_id), k)

    return app


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description="Serves an export over HTTP.")
    parser.add_argument("folder", type=Path, help="what `slifmr export` wrote")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    options = parser.parse_args()
    uvicorn.run(service(Model(options.folder)), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
