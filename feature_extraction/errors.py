"""Errors that a user can act on: what was found, what was expected, how to fix it, and where."""

from pathlib import Path


class UserFacingError(Exception):
    """An error caused by input or configuration, with everything needed to mend it.

    Args:
        found: What is wrong, in one sentence, with the offending value.
        expected: What would have been right.
        fix: What the user can do about it.
        path: File that the error comes from, if there is one.
        row: 1-based line (or row) in that file, if known.
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str,
        fix: str,
        path: str | Path | None = None,
        row: int | None = None,
    ) -> None:
        self.found = found
        self.expected = expected
        self.fix = fix
        self.path = None if path is None else Path(path)
        self.row = row
        super().__init__(str(self))

    def __str__(self) -> str:
        where = "" if self.path is None else f"{self.path}"
        if self.row is not None:
            where += f", row {self.row}" if where else f"row {self.row}"
        head = f"{where}: {self.found}" if where else self.found
        return f"{head}\n  expected: {self.expected}\n  fix: {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when a worker process passes the error on."""
        return _rebuild, (type(self), self.found, self.expected, self.fix, self.path, self.row)


def _rebuild(
    kind: type[UserFacingError],
    found: str,
    expected: str,
    fix: str,
    path: Path | None,
    row: int | None,
) -> UserFacingError:
    return kind(found, expected=expected, fix=fix, path=path, row=row)


class TableError(UserFacingError):
    """A CSV, TSV, Parquet or atomic file that cannot be read as asked."""


class FeatureError(UserFacingError):
    """An encoder, an image folder or a feature store that cannot be used as asked."""


class InputError(Exception):
    """One raw input that gives no features; its message is the reason, without item and path."""
