"""Raw item images and texts to aligned feature arrays on disk."""
