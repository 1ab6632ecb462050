"""What is done with a trained model: explanations, new items and users, exported files."""
