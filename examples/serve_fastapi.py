"""A service of your own on the files of `slifmr export`; `slifmr serve` is the whole one.

    pip install fastapi uvicorn numpy pyarrow safetensors
    python examples/serve_fastapi.py EXPORT_FOLDER --port 8000

It needs neither torch nor slifmr_pl. Copy it and make it yours.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI, HTTPException
from safetensors.numpy import load_file


def service(folder: Path) -> FastAPI:
    """One route: the best items of a user that the user does not know."""
    tensors = load_file(folder / "embeddings.safetensors")
    users, items = tensors["users"], tensors["items"]
    offsets, seen = tensors["seen_offsets"], tensors["seen_items"]
    user_ids, item_ids = (
        pq.read_table(folder / f"{name}s.parquet")[f"{name}_id"].to_pylist()
        for name in ("user", "item")
    )
    rows = {raw: row for row, raw in enumerate(user_ids)}
    app = FastAPI(title="Recommendations")

    @app.get("/recommendations")
    def recommendations(user_id: str, k: int = 20) -> list[dict[str, str | float]]:
        if user_id not in rows:
            raise HTTPException(404, f"user {user_id!r} is not known")
        user = rows[user_id]
        scores = items @ users[user]
        scores[seen[offsets[user] : offsets[user + 1]]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:k]
        # Your own rules go here: filters, diversity, what is in stock.
        return [
            {"item_id": item_ids[row], "score": float(scores[row])}
            for row in best
            if np.isfinite(scores[row])
        ]

    return app


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description="Serves an export over HTTP.")
    parser.add_argument("folder", type=Path, help="what `slifmr export` wrote")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    options = parser.parse_args()
    uvicorn.run(service(options.folder), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
