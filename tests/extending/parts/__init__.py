"""Ideas of a user's, one a file; they import the public names of the two packages alone."""
