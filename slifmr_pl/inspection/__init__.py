"""What is in a data folder, and what training will do with each oddity: findings, text, page."""
