"""Where data come from: manifests, the simulated screen, preparation of raw images."""
