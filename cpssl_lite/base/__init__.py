"""The ground: errors, whole files, workers, provenance, and which code made a result."""
