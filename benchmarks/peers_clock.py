"""What a run of a peer notes, whose code it may be."""

from typing import Any

METRICS = ("recall@20", "ndcg@20")


class Clock:
    """Notes how long epochs and validations take, and which epoch is the best so far."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.validations: list[float] = []
        self.watched: list[float] = []
        self.best = -1.0
        self.to_best = 0.0
        self.best_epoch = 0

    def validated(self, value: float) -> None:
        """After each validation, with the watched metric."""
        self.watched.append(value)
        if value > self.best:
            self.best, self.best_epoch = value, len(self.epochs)
            self.to_best = sum(self.epochs) + sum(self.validations)

    def answer(self, memory: int, test: dict[str, float]) -> dict[str, Any]:
        """What the asking process gets."""
        return {
            "epoch": self.epochs,
            "validation": self.validations,
            "watched": self.watched,
            "to_best": self.to_best,
            "best_epoch": self.best_epoch,
            "memory": memory,
            "valid": self.best,
            "test": test,
        }
