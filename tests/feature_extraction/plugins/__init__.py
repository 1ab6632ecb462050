"""What a user would write: an encoder kind and a raw modality, by public names alone."""
