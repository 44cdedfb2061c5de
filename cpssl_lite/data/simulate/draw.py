"""Fill cells with the five stains: what a perfect microscope would see, before its optics."""

import numpy as np

from cpssl_lite.data.simulate.cells import DEAD, INTERPHASE, MITOTIC, Cells, grow
from cpssl_lite.data.simulate.phenotype import Phenotype
from cpssl_lite.data.simulate.textures import look_up

_F = np.float32


def draw_field(
    phenotype: Phenotype, rng: np.random.Generator, size: int = 256
) -> tuple[np.ndarray, int]:
    """Draw one field of cells.

    Parameters
    ----------
    phenotype
        The well's parameters; each cell varies around them.
    rng
        Source of every random choice.
    size
        Height and width in px (0.6 um each, as 20x fields binned twice).

    Returns
    -------
    stains : (5, size, size) float32
        Light from each stain in the order Mito, AGP, RNA, ER, DNA; 0 is no stain and 1 is
        about what a bright structure of an untreated cell gives.
    count : int
        Living cells whose nuclear centre lies in the field.
    """
    cells = grow(phenotype, size, rng)
    stains = np.zeros((5, size, size), np.float32)
    where = np.flatnonzero(cells.edge > 0)
    if len(where):
        stains.reshape(5, -1)[:, where] = _stains(cells, where, size, rng)
    _debris(stains, phenotype, rng)
    return stains, cells.inside


def _stains(cells: Cells, where: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Stains at the given flat pixel positions, (5, len(where)) float32."""
    i = cells.owner.ravel()[where]
    n = len(cells.kind)
    p = cells.parameters
    edge = np.maximum(cells.edge.ravel()[where], _F(0))
    junction = cells.junction.ravel()[where]
    row, column = np.divmod(where.astype(np.int32), np.int32(size))
    x, y = column.astype(np.float32), row.astype(np.float32)
    rho = cells.nucleus(x, y, i)
    size_n = cells.nuclei.radius[i]
    out = np.maximum(rho - _F(1), _F(0)) * size_n  # px outside the nucleus
    in_nucleus = np.clip((_F(1) - rho) * size_n * _F(0.8) + _F(0.5), 0, 1)
    cytoplasm = _F(1) - in_nucleus
    dome = np.sqrt(np.maximum(_F(1) - rho * rho, _F(0)))

    # Position in each cell's own frame, moved to a random place of the pattern bank.
    dx, dy = x - cells.nuclei.x[i], y - cells.nuclei.y[i]
    u = dx * cells.body.cos[i] + dy * cells.body.sin[i]
    v = dy * cells.body.cos[i] - dx * cells.body.sin[i]
    # Far from zero, so that truncation rounds down everywhere.
    shift = (2048 + rng.random((2, n)) * 512).astype(np.float32)
    u_pattern, v_pattern = u + shift[0][i], v + shift[1][i]
    kinds = ("fine", "cloud", "threads", "mesh", "fibres", "puncta", "bubbles")
    fine, cloud, threads, mesh, fibres, puncta, bubbles = look_up(u_pattern, v_pattern, kinds)

    alive = (cells.kind == INTERPHASE).astype(np.float32)[i]
    level = _brightness(cells, rng)[:, i]  # (5, pixels)

    # How thick the cell is: thin at free edges, a groove to the neighbour, thick at the nucleus.
    thickness = (edge / (edge + _F(3.5))) * (_F(0.62) + _F(0.38) * junction / (junction + _F(3)))
    near = _fall(out, 16.0)
    holes = p["vacuoles"][i] * np.minimum(bubbles * _F(1.6), _F(1)) * cytoplasm * alive
    body = thickness * (_F(1) - _F(0.8) * holes) * (_F(1) + _F(0.13) * cloud)

    nucleoli = np.zeros_like(rho)
    chromatin = np.zeros_like(rho)
    k = np.flatnonzero(in_nucleus > 0)
    if len(k):
        grain = _F(1) / p["chromatin_grain"][i[k]]
        a, b = look_up(u_pattern[k] * grain, v_pattern[k] * grain, ("fine", "coarse"))
        chromatin[k] = _F(0.65) * a + _F(0.6) * b
        nucleoli[k] = _nucleoli(cells, i[k], u[k] + _F(0.9) * b, v[k] + _F(0.9) * a, rng)
        nucleoli[k] *= in_nucleus[k] * alive[k]

    # DNA: a bright disc with chromatin texture, nucleoli left out, hardly anything outside.
    texture = _F(1) + p["chromatin_contrast"][i] * chromatin * alive
    dna = in_nucleus * (_F(0.72) + _F(0.28) * dome) * np.maximum(texture, _F(0.15))
    dna = level[4] * (dna * (_F(1) - _F(0.3) * nucleoli) + _F(0.012) * body)

    # RNA: granular cytoplasm, a dimmer nucleus with bright nucleoli.
    grains = _F(1) + p["rna_texture"][i] * (fine + _F(0.8) * mesh)
    rna = body * (_F(0.20) + _F(0.42) * near) * np.maximum(grains, _F(0.1)) * cytoplasm
    rna += in_nucleus * (_F(0.32) + _F(0.03) * chromatin)
    rna = level[2] * (rna + _F(0.30) * p["nucleolus_rna"][i] * nucleoli)

    # ER: a mesh that is dense around the nucleus, with the envelope as a rim.
    spread = _fall(out, 17.0, p["er_spread"][i])
    er = body * (_F(0.11) + _F(0.62) * spread * (_F(1) + _F(0.2) * cloud)) * cytoplasm
    er *= np.maximum(_F(1) + p["er_texture"][i] * (_F(1.3) * mesh + _F(0.35) * fine), _F(0.05))
    er += in_nucleus * (_F(0.30) + _F(0.10) * nucleoli + _F(0.03) * chromatin)
    er = level[3] * er

    # AGP: plasma membrane and cortical actin, stress fibres, Golgi beside the nucleus.
    border = np.minimum(edge, junction * _F(1.2) + _F(0.4))
    rim = _F(1) / (_F(1) + (border * _F(0.55)) ** 2) * np.minimum(edge, _F(1))
    rim *= np.maximum(_F(0.55) + _F(0.5) * cloud, _F(0.1)) * cytoplasm
    stress = np.minimum(fibres, _F(2.5)) * (_F(1) - _F(0.75) * near) * body * alive
    golgi = _golgi(cells, i, u, v, out, rng) * cytoplasm * alive
    golgi *= _F(0.12) + _F(1.7) * puncta + _F(0.7) * threads
    agp = body * (_F(0.12) + _F(0.10) * near) * (_F(1) + _F(0.12) * fine) * cytoplasm
    agp += _F(0.20) * p["actin_edge"][i] * rim + _F(0.05) * p["actin_fibres"][i] * stress
    agp += _F(2.0) * p["golgi_amount"][i] * golgi
    agp += _F(0.16) * puncta * near * body * alive * cytoplasm
    agp += in_nucleus * (_F(0.27) + _F(0.02) * chromatin + _F(0.12) * nucleoli)
    agp = level[1] * agp

    # Mitochondria: threads or, when fragmented, dots, around the nucleus; a haze elsewhere.
    broken = p["mito_fragmentation"][i]
    network = (_F(1) - broken) * threads * _F(1.15) + broken * puncta * _F(1.6)
    network *= np.minimum(_F(0.12) + _F(1.1) * _fall(out, 19.0, p["mito_spread"][i]), _F(1))
    network *= body * cytoplasm * np.maximum(_F(0.8) + _F(0.35) * cloud, _F(0.15))
    mito = _F(0.75) * network * alive + body * (_F(0.07) + _F(0.10) * near) * cytoplasm
    mito = level[0] * (mito + in_nucleus * (_F(0.13) + _F(0.015) * chromatin))

    return np.stack([mito, agp, rna, er, dna])


def _fall(distance: np.ndarray, reach: float, factor: np.ndarray | float = 1.0) -> np.ndarray:
    """1 at the nucleus, 0.5 at `reach` px times `factor`, falling off like a bell with tails."""
    t = distance / (_F(reach) * factor)
    return _F(1) / (_F(1) + t * t)


def _brightness(cells: Cells, rng: np.random.Generator) -> np.ndarray:
    """Each cell's level in each channel, (5, n): rounded cells are thick, dead ones glow."""
    p = cells.parameters
    together = 1 + 0.17 * rng.standard_normal(len(cells.kind))  # one cell stains well in all
    names = ("mito_amount", "agp_amount", "rna_amount", "er_amount", "dna_amount")
    level = np.stack([p[name] for name in names]) * np.clip(together, 0.55, 1.6)
    mitotic = np.array([1.5, 1.5, 1.5, 1.6, 1.9])[:, None]
    dead = np.array([1.6, 2.2, 2.4, 2.2, 2.3])[:, None] * (0.7 + 0.6 * rng.random(len(cells.kind)))
    level = np.where(cells.kind == MITOTIC, level * mitotic, level)
    return np.where(cells.kind == DEAD, dead, level).astype(np.float32)


def _nucleoli(
    cells: Cells, i: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Nucleolar coverage 0..1 at nuclear pixels (u, v in px) of cells i."""
    p, n, most = cells.parameters, len(cells.kind), 10
    angle = rng.standard_normal((2, most, n))
    angle /= np.sqrt(angle[0] ** 2 + angle[1] ** 2) + 1e-9
    away = 0.68 * np.sqrt(rng.random((most, n))) * cells.nuclei.radius
    stretch = np.sqrt(p["nucleus_elongation"])
    centre_u = (angle[0] * away * stretch).astype(np.float32)
    centre_v = (angle[1] * away / stretch).astype(np.float32)
    relative = np.sqrt(p["nucleolus_size"] / np.sqrt(np.maximum(p["nucleolus_count"], 0.7) / 4.5))
    radius = 2.5 * relative * (0.65 + 0.7 * rng.random((most, n)))
    there = np.arange(most)[:, None] < p["nucleolus_count"] + rng.random(n) - 0.5
    radius = np.where(there, radius, 0.05).astype(np.float32)
    cover = np.zeros(len(i), np.float32)
    for j in range(int(np.max(np.sum(there, axis=0), initial=0))):
        a, b, r = u - centre_u[j][i], v - centre_v[j][i], radius[j][i]
        cover = np.maximum(cover, np.clip((r + _F(1.0) - np.sqrt(a * a + b * b)) * _F(0.6), 0, 1))
    return cover


def _golgi(
    cells: Cells,
    i: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Envelope 0..1 of the Golgi: a patch on one side of the nucleus, wider when it disperses."""
    p, n = cells.parameters, len(cells.kind)
    side = rng.standard_normal((2, n))
    side /= np.sqrt(side[0] ** 2 + side[1] ** 2) + 1e-9
    away = cells.nuclei.radius * (1.05 + 0.15 * rng.random(n))
    a = u - (side[0] * away).astype(np.float32)[i]
    b = v - (side[1] * away).astype(np.float32)[i]
    spread = p["golgi_spread"][i]
    wide = _F(9.5) * spread
    patch = _F(1) / (_F(1) + (a * a + b * b) / (wide * wide))
    # Dispersal dilutes the stain: the same amount over more pixels.
    return patch * patch * _fall(out, 9.0, spread) / np.sqrt(spread)


def _debris(stains: np.ndarray, phenotype: Phenotype, rng: np.random.Generator) -> None:
    """Add a few specks of dirt and vesicles between and on the cells, in place."""
    size = stains.shape[-1]
    for _ in range(int(rng.integers(0, 4) + 60 * phenotype.dead_share * rng.random())):
        x, y = (rng.random(2) * (size - 6)).astype(int)
        amount = np.array([0.5, 0.6, 0.5, 0.35, 0.02]) * (0.3 + 0.9 * rng.random())
        amount *= 0.4 + rng.random(5)
        shape = np.minimum(rng.random((3, 3)) + np.eye(3)[rng.permutation(3)] * 0.5, 1.0)
        stains[:, y : y + 3, x : x + 3] += (amount[:, None, None] * shape).astype(np.float32)
