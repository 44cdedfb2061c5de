"""Tables of wells: extraction, aggregation, normalisation, feature selection."""
