"""Do the shipped networks beat their own architectures with random weights, on held-out plates?

    python benchmarks/checkpoints.py [--screen lite] [--seeds 3] [NAME=VALUE ...]

Prints the mAPs of every network, and its difference to each random network with the 95%
bootstrap interval over perturbations. NAME=VALUE draws another screen (library=dev
first_plate=31: other compounds on other plates).
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml

from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.profiles.evaluate import compare, evaluate
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import read_profiles

METRICS = ("perturbation_map", "label_map")


def main() -> None:
    """Extract, normalise, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screen", default="lite")
    parser.add_argument("--seeds", type=int, default=3, help="random networks [3]")
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="screen parameters")
    asked = parser.parse_args()
    changes = {k: yaml.safe_load(v) for k, v in (c.split("=", 1) for c in asked.changes)}
    folder = Path("data") / "-".join([asked.screen, *(f"{v}" for v in changes.values())])
    images = read_image_table(simulate(asked.screen, folder, **changes))

    def profiles(name: str, network: Encoder) -> pd.DataFrame:
        out = extract(images, network, folder / "profiles" / f"{name}.parquet")
        return normalize(read_profiles(out), "sphere+mad_robustize")

    def row(name: str, scores: dict[str, float]) -> None:
        values = [f"{scores[metric]:.3f}" for metric in METRICS]
        print(f"{name:<24}" + "".join(f"{value:>26}" for value in values))

    print(f"{folder.name}: {len(images)} fields\n{'':<24}{METRICS[0]:>26}{METRICS[1]:>26}")
    networks = {name: load_encoder(path) for name, path in SHIPPED.items()}
    randoms = {}
    for seed in range(asked.seeds):
        name = "Random_weights" + (f"_{seed}" if seed else "")
        randoms[seed] = profiles(name, random_like(networks["DINO"], seed))
        row(f"random weights {seed}", evaluate(randoms[seed]))
    for name, network in networks.items():
        mine = profiles(name, network)
        scores = evaluate(mine)
        row(name, scores)
        for seed, other in randoms.items():
            difference = compare(mine, other, seed=0)
            parts = [
                "{:+.3f} ({:+.3f} to {:+.3f})".format(
                    *(difference[f"{metric}_{part}"] for part in ("difference", "low", "high"))
                )
                for metric in METRICS
            ]
            print(f"{f'  minus random {seed}':<24}" + "".join(f"{part:>26}" for part in parts))


if __name__ == "__main__":
    main()
