"""What is tested: perturbations with a target, a direction of change and a strength."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from cpssl_lite.data.simulate.phenotype import MECHANISMS, add, random_direction


@dataclass(frozen=True)
class Plan:
    """How the effects of a library are spread over its targets."""

    inactive: float  # share of targets of which no compound does anything
    half: float  # share of targets of which the second compound does nothing
    weakest: float  # of the active ones, lost among controls
    strongest: float  # plain to see
    own: float  # what a compound adds to its target's direction
    count: float  # share of targets that change the number of cells, besides their direction
    count_only: float  # share of targets that change nothing else
    geometric: bool = False  # grades between the two: even steps or even ratios


PLANS = {
    "lite": Plan(1 / 16, 1 / 16, 0.65, 5.0, 0.35, 1 / 8, 1 / 16, geometric=True),
    "other": Plan(1 / 8, 1 / 8, 0.4, 4.0, 0.5, 1 / 4, 1 / 12),
}


def generator(seed: int, *key: object) -> np.random.Generator:
    """Random stream of a thing, from the seed and the thing's name and nothing else.

    Whatever order or process draws it, plate S1-B1-P1 well A01 site 1 is the same.
    """
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


@dataclass(frozen=True)
class Perturbation:
    """One compound (or overexpressed gene) and its truth."""

    name: str
    target: str
    group: str  # mechanism of a compound, family of a gene; empty for a random direction
    strength: float  # 0 does nothing
    direction: dict[str, float]  # steps of phenotype parameters at strength 1

    def steps(
        self, phenotype_strength: float = 1.0, count_strength: float = 1.0
    ) -> dict[str, float]:
        """Steps by which wells of this perturbation differ from controls."""
        direction = dict(self.direction)
        if "cell_count" in direction:
            direction["cell_count"] *= count_strength
        return add((self.strength * phenotype_strength, direction))


def compounds(
    seed: int, n_targets: int, per_target: int, library: str = "lite"
) -> list[Perturbation]:
    """Draw a compound library: targets share a direction, compounds add a little of their own.

    In library "lite" targets have mechanism-like directions, two targets a mechanism (each
    with a part of its own, so that they can be told apart with effort). Any other library
    has random directions, which no target of "lite" has.
    """
    rng = generator(seed, library, "strengths")
    plan = PLANS.get(library, PLANS["other"])
    strengths = _grade(n_targets, rng, plan)
    half = set(_choose(strengths, plan.half, rng))
    counts = _counts(strengths, rng, plan)
    mechanisms = list(MECHANISMS)
    prefix = "".join(part[0] for part in library.split("-")).upper()
    made = []
    for t in range(n_targets):
        group = mechanisms[t % len(mechanisms)] if library == "lite" else ""
        own = random_direction(generator(seed, library, "target", t), 5)
        shared = add((1.0, MECHANISMS[group]), (0.55, own)) if group else own
        for c in range(per_target):
            extra = random_direction(generator(seed, library, "compound", t, c), 5)
            direction = add((1.0, shared), (plan.own, extra))
            if t in counts:
                fewer, only = counts[t]
                direction = {**({} if only else direction), "cell_count": fewer}
            strength = strengths[t] * (1.0 - 0.2 * (c % 2))
            made.append(
                Perturbation(
                    name=f"{prefix}-CPD-{t * per_target + c + 1:04d}",
                    target=f"{prefix}-TGT{t + 1:02d}",
                    group=group,
                    strength=0.0 if t in half and c % 2 else round(strength, 4),
                    direction=direction,
                )
            )
    return made


def genes(seed: int, families: Sequence[int], per_gene: int) -> list[Perturbation]:
    """Draw a gene library: a family shares most of its direction. `families` are their sizes."""
    rng = generator(seed, "orf", "strengths")
    strengths = _grade(sum(families), rng, PLANS["other"])
    made: list[Perturbation] = []
    for family, n in enumerate(families):
        shared = random_direction(generator(seed, "orf", "family", family), 6)
        for _ in range(n):
            g = len(made) // per_gene
            own = random_direction(generator(seed, "orf", "gene", g), 4)
            for r in range(per_gene):
                extra = random_direction(generator(seed, "orf", "reagent", g, r), 4)
                made.append(
                    Perturbation(
                        name=f"ORF-{g * per_gene + r + 1:04d}",
                        target=f"GENE{g + 1:02d}",
                        group=f"family {family + 1}",
                        strength=round(strengths[g], 4),
                        direction=add((1.0, shared), (0.5, own), (0.15, extra)),
                    )
                )
    return made


def _grade(n: int, rng: np.random.Generator, plan: Plan) -> list[float]:
    """Strengths of `n` targets in random order: some 0, the others even from weak to strong."""
    inactive = round(n * plan.inactive)
    space = np.geomspace if plan.geometric else np.linspace
    active = space(plan.weakest, plan.strongest, n - inactive)
    return [float(s) for s in rng.permutation(np.concatenate([np.zeros(inactive), active]))]


def _counts(
    strengths: list[float], rng: np.random.Generator, plan: Plan
) -> dict[int, tuple[float, bool]]:
    """Targets that change the number of cells: steps at strength 1, and whether only that."""
    chosen = _choose(strengths, plan.count, rng)
    only = round(len(strengths) * plan.count_only)
    return {t: (-0.6 - 0.4 * float(rng.random()), i < only) for i, t in enumerate(chosen)}


def _choose(strengths: list[float], share: float, rng: np.random.Generator) -> list[int]:
    active = [t for t, s in enumerate(strengths) if s > 0]
    return [int(t) for t in rng.permutation(active)[: round(len(strengths) * share)]]
