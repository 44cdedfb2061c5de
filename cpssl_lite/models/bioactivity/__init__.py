"""Bioactivity prediction: the feature network, six image networks, and how they are trained."""
