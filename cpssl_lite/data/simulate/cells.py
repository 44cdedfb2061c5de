"""Where cells lie and which pixel belongs to which: seeds, outlines that compete, nuclei."""

from dataclasses import dataclass

import numpy as np

from cpssl_lite.data.simulate.phenotype import Phenotype
from cpssl_lite.data.simulate.textures import smooth, upsample

MARGIN = 56  # px around the field in which cells are placed too, so that the border cuts some
CELL_RADIUS = 45.0  # px, of a control cell with room to spread (U2OS at 20x, 0.6 um a pixel)
NUCLEUS_RADIUS = 19.0
INTERPHASE, MITOTIC, DEAD = 0, 1, 2


@dataclass(frozen=True)
class Outlines:
    """Outlines of n cells or nuclei: ellipses with soft corners. All arrays float32, over n."""

    x: np.ndarray  # centre, px
    y: np.ndarray
    cos: np.ndarray  # direction of the long axis
    sin: np.ndarray
    radius: np.ndarray  # px, of the circle of the same area
    stretch: np.ndarray  # square root of long over short axis
    corners: np.ndarray  # (6, n) corners: k = 3 (cos, sin), 2 (cos, sin), 4 (cos, sin)

    def distance(self, x: np.ndarray, y: np.ndarray, i: int | np.ndarray) -> np.ndarray:
        """Squared distance of positions from centre i in units of its outline: 1 on it.

        The outline is r(t) = 1 + sum over k of a_k cos kt + b_k sin kt; powers of the unit
        vector give cos kt and sin kt without trigonometry. `i` is one index, or one a position.
        """
        f, c = np.float32, self.corners[:, i]
        dx, dy = x - self.x[i], y - self.y[i]
        u = (dx * self.cos[i] + dy * self.sin[i]) / (self.radius[i] * self.stretch[i])
        v = (dy * self.cos[i] - dx * self.sin[i]) * (self.stretch[i] / self.radius[i])
        uu, vv = u * u, v * v
        q = uu + vv + f(1e-6)
        inverse = f(1) / q
        c2, s2 = (uu - vv) * inverse, f(2) * u * v * inverse
        one = np.sqrt(inverse)
        r = f(1) + one * (c[0] * (c2 * u - s2 * v) + c[1] * (c2 * v + s2 * u))
        r += c2 * (c[2] + c[5] * f(2) * s2) + c[3] * s2 + c[4] * (c2 * c2 - s2 * s2)
        return q / (r * r)


@dataclass(frozen=True)
class Cells:
    """Cells of one field. Arrays over cells are (n,) float32, arrays over pixels (size, size)."""

    parameters: dict[str, np.ndarray]  # drawn per cell from the well's phenotype
    kind: np.ndarray  # (n,) INTERPHASE, MITOTIC or DEAD
    body: Outlines
    nuclei: Outlines
    seconds: Outlines  # the other nucleus of cells that have two
    twin: np.ndarray  # (n,) whether they have
    owner: np.ndarray  # index of the cell that a pixel belongs to (if any)
    edge: np.ndarray  # px from the free edge of the cell, <= 0 outside cells
    junction: np.ndarray  # px from the border with the next cell
    inside: int  # living cells whose centre lies in the field

    def nucleus(self, x: np.ndarray, y: np.ndarray, i: np.ndarray) -> np.ndarray:
        """Distance from the nearest nuclear centre of cells i: 1 on the nuclear border."""
        rho = self.nuclei.distance(x, y, i)
        k = np.flatnonzero(self.twin[i])
        if len(k):
            rho[k] = np.minimum(rho[k], self.seconds.distance(x[k], y[k], i[k]))
        return np.sqrt(rho)


def _unit(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random directions as (cos, sin), without trigonometry: normals divided by their length."""
    v = rng.standard_normal((2, n)) + 1e-9
    v /= np.sqrt(v[0] ** 2 + v[1] ** 2)
    return v[0], v[1]


def place(phenotype: Phenotype, size: int, rng: np.random.Generator) -> np.ndarray:
    """Seed positions (n, 2) as x, y in px: not too close, in loose groups as U2OS cells grow."""
    side = size + 2 * MARGIN
    mean = phenotype.cell_count * side**2 / 256**2
    n = max(round(float(mean * np.clip(1 + 0.12 * rng.standard_normal(), 0.5, 1.6))), 1)
    candidates = rng.random((12 * n, 2)) * side - MARGIN
    # Group centres reach further out than cells, so that density is the same all over the field.
    groups = rng.random((6, 2)) * (side + 320) - (MARGIN + 160)
    away = np.min(np.sum((candidates[:, None] - groups[None]) ** 2, -1), axis=1)
    order = np.argsort(
        rng.random(12 * n) + phenotype.clumping * away / (away + 130.0**2), kind="stable"
    )
    radius = NUCLEUS_RADIUS * np.sqrt(phenotype.nucleus_size)
    chosen: list[np.ndarray] = []
    # Dart throwing; when the field is full the rule is relaxed rather than cells dropped.
    for closest in (2.5 * radius, 2.1 * radius, 1.8 * radius):
        for i in order:
            if len(chosen) == n:
                break
            c = candidates[i]
            if all((c[0] - o[0]) ** 2 + (c[1] - o[1]) ** 2 > closest**2 for o in chosen):
                chosen.append(c)
    return np.array(chosen)


def grow(phenotype: Phenotype, size: int, rng: np.random.Generator) -> Cells:
    """Draw one field's cells: each pixel goes to the cell that is nearest in its own metric.

    Outlines: a cell is an ellipse with soft corners, in coordinates that a smooth random
    field warps. Their influences add up before they are cut off, which gives neighbours the
    concave bridges seen between real cells; the owner is the nearest one. All this is done
    at half the resolution: outlines are smooth.
    """
    f = np.float32
    seeds = place(phenotype, size, rng)
    n = len(seeds)
    p = phenotype.cells(n, rng)
    chance = rng.random((3, n))
    kind = np.where(chance[0] < p["mitotic_share"], MITOTIC, INTERPHASE)
    kind = np.where(chance[1] < p["dead_share"], DEAD, kind)
    twin = (chance[2] < p["binucleate_share"]) & (kind == INTERPHASE)
    body, nuclei, seconds = _outlines(p, seeds, kind, twin, rng)

    half = size // 2
    axis = np.arange(half, dtype=np.float32) * f(2) + f(0.5)
    ragged = f(phenotype.cell_irregularity)
    warp = [ragged * (f(9) * smooth(rng, half, 14) + f(3) * smooth(rng, half, 5)) for _ in "xy"]
    x, y = axis[None, :] + warp[0], axis[:, None] + warp[1]
    nx, ny = axis[None, :] + f(0.1) * warp[0], axis[:, None] + f(0.1) * warp[1]

    best = np.full((half, half), 50.0, np.float32)
    second = best.copy()
    influence = np.zeros((half, half), np.float32)
    owner = np.zeros((half, half), np.int32)
    for i in range(n):
        box = _box(body, i, half)
        d = body.distance(x[box], y[box], i)
        if not d.size:
            continue
        inside = nuclei.distance(nx[box], ny[box], i)
        if twin[i]:
            inside = np.minimum(inside, seconds.distance(nx[box], ny[box], i))
        covered = np.minimum(d, f(0.7) * inside)  # no nucleus reaches out of its cell
        influence[box] += np.maximum(f(1.16) / (covered * covered + f(0.02)) - f(0.16), f(0))
        # Nor into a neighbour: there its own cell wins. Rounded cells lie on top of flat ones.
        d = np.minimum(d, f(0.22) * inside) * f(1.0 if kind[i] == INTERPHASE else 0.3)
        nearer = d < best[box]
        second[box] = np.where(nearer, best[box], np.minimum(second[box], d))
        best[box] = np.where(nearer, d, best[box])
        owner[box] = np.where(nearer, np.int32(i), owner[box])

    reach = body.radius[owner]
    reached = np.sqrt(f(1) / np.sqrt(influence + f(1e-6)))  # radius in units of the outline's
    junction = f(0.5) * (np.sqrt(second) - np.sqrt(best)) * reach
    within = np.all((seeds >= 0) & (seeds < size), axis=1)
    return Cells(
        parameters={name: values.astype(np.float32) for name, values in p.items()},
        kind=kind,
        body=body,
        nuclei=nuclei,
        seconds=seconds,
        twin=twin,
        owner=owner.repeat(2, axis=0).repeat(2, axis=1),
        edge=upsample((f(1) - reached) * reach, 2),
        junction=upsample(np.minimum(junction, f(200)), 2),
        inside=int(np.sum(within & (kind != DEAD))),
    )


def _outlines(
    p: dict[str, np.ndarray],
    seeds: np.ndarray,
    kind: np.ndarray,
    twin: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Outlines, Outlines, Outlines]:
    """Outlines of cells, of their nuclei and of second nuclei. Mitotic and dead cells are round."""
    n = len(seeds)
    round_up = kind != INTERPHASE
    cos, sin = _unit(rng, n)
    turn = 0.25 * rng.standard_normal(n)  # the nucleus is nearly aligned with its cell
    ncos, nsin = cos - turn * sin, sin + turn * cos
    length = np.sqrt(ncos**2 + nsin**2)
    ncos, nsin = ncos / length, nsin / length
    vary = rng.random(n)

    def of_kind(
        interphase: np.ndarray, mitotic: float | np.ndarray, dead: float | np.ndarray
    ) -> np.ndarray:
        return np.where(kind == MITOTIC, mitotic, np.where(kind == DEAD, dead, interphase))

    size = np.sqrt(p["cell_size"])
    radius = of_kind(CELL_RADIUS * size, 21.0 * size, 13.0 + 4.0 * vary)
    corners = rng.standard_normal((6, n)) * np.where(round_up, 0.01, 0.14 * p["cell_irregularity"])
    corners *= np.array([1.0, 1.0, 0.7, 0.7, 0.6, 0.6])[:, None]
    offset = 0.14 * radius * rng.standard_normal((2, n)) * ~round_up
    nradius = of_kind(NUCLEUS_RADIUS * np.sqrt(p["nucleus_size"]), 11.5, 8.0 + 3.0 * vary)
    nradius = np.where(twin, 0.84 * nradius, nradius)
    nstretch = np.sqrt(of_kind(p["nucleus_elongation"], 2.6, 1.15))
    lobes = rng.standard_normal((6, n)) * np.where(round_up, 0.03, p["nucleus_irregularity"])
    lobes *= np.array([0.6, 0.6, 0.7, 0.7, 0.45, 0.45])[:, None]
    apart = np.where(twin, 1.02 * nradius / nstretch, 0.0)

    def outlines(*values: np.ndarray) -> Outlines:
        return Outlines(*(v.astype(np.float32) for v in values))

    x, y = seeds.T
    stretch = np.sqrt(of_kind(p["cell_elongation"], 1.08, 1.15))
    ax, ay = apart * nsin, apart * ncos
    return (
        outlines(x + offset[0], y + offset[1], cos, sin, radius, stretch, corners),
        outlines(x + ax, y - ay, ncos, nsin, nradius, nstretch, lobes),
        outlines(x - ax, y + ay, ncos, nsin, 0.93 * nradius, nstretch, lobes[::-1]),
    )


def _box(body: Outlines, i: int, half: int) -> tuple[slice, slice]:
    """Rows and columns (at half resolution) that cell i can influence."""
    long, short = body.radius[i] * body.stretch[i], body.radius[i] / body.stretch[i]
    across = np.sqrt((long * body.cos[i]) ** 2 + (short * body.sin[i]) ** 2)
    down = np.sqrt((long * body.sin[i]) ** 2 + (short * body.cos[i]) ** 2)

    def span(centre: float, extent: float) -> slice:
        extent = 1.65 * extent + 14
        first, last = (centre - extent) / 2, (centre + extent) / 2 + 1
        return slice(int(max(first, 0)), int(min(max(last, 0), half)))

    return span(float(body.y[i]), float(down)), span(float(body.x[i]), float(across))
