"""How it is told: notebook runner, claims, figures, provenance."""
