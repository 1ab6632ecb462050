"""Ideas of a user's, each one file of `parts`, and what each gets without any further code."""
