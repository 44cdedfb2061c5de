"""Do crops of one field lie nearer to each other than to crops of other fields?

    python benchmarks/same_field.py data/mine/images.parquet [checkpoint]

Prints the share of crops whose nearest other crop (cosine) is from the same field, for a trained
network and for the same network with random weights, and the share that chance gives.
"""

import sys

import numpy as np
import torch

from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.metrics.nearest import accuracy, nearest_neighbours, standardise
from cpssl_lite.models.checkpoints import DEFAULT, load_encoder, random_like


def main(table: str, checkpoint: str = str(DEFAULT)) -> None:
    """Embed every crop with cells of every field and print the shares."""
    trained = load_encoder(checkpoint)
    size, crops, owner = trained.crop_size, [], []
    for number, row in enumerate(read_image_table(table).to_dict("records")):
        field = read_field(row, trained.channels)
        corners = grid(*field.pixels.shape[1:], size)
        dna = field.pixels[field.channels.index("DNA")]
        kept = corners[select(foreground_share(dna, field.otsu, corners, size))]
        crops.append(cut(field.pixels[: len(trained.channels)], kept, size))
        owner += [number] * len(kept)
    pixels, fields = np.concatenate(crops), np.array(owner)
    print(f"{len(pixels)} crops of {size} px from {fields.max() + 1} fields")
    for name, network in [
        ("trained", trained),
        *((f"random weights, seed {seed}", random_like(trained, seed)) for seed in range(3)),
    ]:
        with torch.inference_mode():
            features = torch.cat(
                [network(torch.from_numpy(part) / 65535) for part in np.array_split(pixels, 20)]
            ).numpy()
        # Standardised, so that a few features with a large range do not decide alone.
        (neighbour,) = nearest_neighbours(standardise(features), [()])
        print(f"{name:<24} {accuracy(fields, neighbour):.3f}")
    counts = np.bincount(fields)
    print(f"{'chance':<24} {(counts * (counts - 1)).sum() / (len(fields) * (len(fields) - 1)):.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:  # `make bench` runs every script without arguments: nothing to keep
        print(__doc__, file=sys.stderr)
    else:
        main(*sys.argv[1:])
