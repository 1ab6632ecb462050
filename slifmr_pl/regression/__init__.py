"""The closed-form regression of items on items, and its weight in the score."""
