"""The simulated Cell Painting screens: `screen.simulate` draws one from named parameters."""
