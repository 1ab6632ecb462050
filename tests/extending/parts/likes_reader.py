"""A format: lines of a user and an item, with options."""

from pathlib import Path

import pyarrow as pa

from slifmr_pl import FileRows, Reader, Source, TablePiece


class LikesReader(Reader):
    """Lines of a user and an item that the user likes, without a header."""

    reads_files = True

    def __init__(self, sep: str = ";", skip: int = 0) -> None:
        self.sep = sep
        self.skip = skip

    def recognises(self, root: Path) -> bool:
        return (root / "likes.txt").is_file()

    def tables(self, path: Path) -> Source:
        file = path if path.is_file() else path / "likes.txt"
        rows = [line.split(self.sep) for line in file.read_text().splitlines()[self.skip :]]
        columns = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
        place = FileRows(file, lines=range(self.skip + 1, self.skip + 1 + len(rows)))
        return Source({"interactions": [TablePiece(pa.table(columns), place)]})
