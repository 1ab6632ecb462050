"""Self-contained HTML: escaping, page, figures, pictures."""
