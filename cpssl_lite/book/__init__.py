"""How it is told: notebook runner, claims and verdicts, figures, what chapters share."""
