"""What a run learned, or how several runs compare, as one page."""
