"""Labels from profiles and images: networks, their training, splits, cross-validation, scores."""
