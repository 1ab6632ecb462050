"""Self-contained HTML pages: one file, no network, for screens, phones and paper."""
