"""Pixels: read, merge to five channels, scale, Otsu, crops, augmentations."""
