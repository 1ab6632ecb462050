"""Table files: CSV, TSV, atomic files, JSON lines, Parquet and Arrow, streamed."""
