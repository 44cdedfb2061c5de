"""Numbers: arrays in, a number or an array out."""
