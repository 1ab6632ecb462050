"""From items and an encoder to a feature store: prepared, encoded, resumable."""
