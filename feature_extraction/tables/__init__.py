"""Table files: CSV, TSV, atomic files, JSON lines and Parquet, streamed."""
