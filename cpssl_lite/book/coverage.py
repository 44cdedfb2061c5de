"""Which claims an edition can test: its data sets hold what they need. Computed, before any run."""

from collections.abc import Mapping
from pathlib import Path

from cpssl_lite.book.claims import Claim, needs
from cpssl_lite.book.editions import Edition, list_editions, load_edition
from cpssl_lite.book.evidence import ABLATION, DATA, RELEASED, ROLES
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.kinds import MULTISOURCE
from cpssl_lite.book.known import CPG0012, INDEXES, METADATA
from cpssl_lite.book.percent import parameters_of
from cpssl_lite.book.where import list_notebooks
from cpssl_lite.book.wording import number
from cpssl_lite.data.manifests import load_manifest

# Counts of the consortium's tables are kept beside the manifests, for every edition.
KEPT = {"data": METADATA}  # by chapter
# What an edition of one's own fetches for a set of the paper's, and whose networks it trains.
FETCH = {**INDEXES, CPG0012: "cpg0012_bioactives with hti_cnn"}
LEARNED = {"DINO", "MAE", "SimCLR", ABLATION}


def can_test(claims: Mapping[str, Claim], edition: Edition, root: Path) -> list[str]:
    """Claims that an edition's chapters can judge, if its data are what their manifests say.

    The chapter of the claim is run, its parameters name a data set that offers the data and all
    features that the claim is about (`offers` in a manifest), and its metrics follow the convention
    that made the paper's number, where it is the size of a number that counts.
    """
    sources = {source.stem.partition("_")[2]: source for source in list_notebooks(root)}
    found = []
    for claim in claims.values():
        source = sources.get(claim.chapter)
        if claim.reason or claim.no_verdict or not source or source.stem not in edition.chapters:
            continue
        offered = _offered(edition, source.stem)
        if claim.chapter in KEPT:
            offered.setdefault(KEPT[claim.chapter], set())
        wanted = set(claim.features) - {DATA}
        fits = any(name in offered and wanted <= offered[name] for name in claim.testable_on)
        if fits and _same_convention(claim, edition, source):
            found.append(claim.id)
    return found


def coverage(
    claims: Mapping[str, Claim], root: Path, built: Edition | None = None
) -> dict[str, list[str]]:
    """Claims that each edition can test: the ones that the book comes with, and `built`."""
    editions = {name: load_edition(name, root) for name in list_editions(root)}
    if built:
        editions[built.name] = built
    return {name: can_test(claims, edition, root) for name, edition in editions.items()}


def coverage_line(covered: Mapping[str, list[str]], total: int) -> Html:
    """How many claims each edition can test, in one line."""
    told = [f"<em>{cell(name)}</em> {len(ids)}" for name, ids in covered.items()]
    return Html(f"<p>Of the paper's {total} claims, editions can test: {', '.join(told)}.</p>")


def own_way(claim: Claim) -> str:
    """How an edition of one's own (`template.yml`) tests a claim that no shipped one does."""
    told = [" or ".join(FETCH.get(name, name) for name in claim.testable_on)]
    if LEARNED & set(claim.features):
        told.append(f"networks trained on {MULTISOURCE}")
    if set(claim.features) - {*ROLES, DATA, RELEASED, ABLATION}:
        told.append("image networks trained there (slow=train, preset=full, size=520)")
    return f"one of your own: {claim.chapter} on {', '.join(told)}"


def needs_table(claims: Mapping[str, Claim], covered: Mapping[str, list[str]]) -> Html:
    """Table of all claims: the editions that test each, what it needs, or why nobody can."""
    by = {"paper": "the text's", "released": "the code's", "either": "either", "": "-"}
    rows = []
    for claim in claims.values():
        sentence = Html(f"{cell(claim.sentence)} <small>{cell(claim.where)}</small>")
        if claim.reason or claim.no_verdict:
            rows.append((sentence, "-", Html(f"<em>{cell(needs(claim))}</em>"), "-"))
            continue
        data = Html(cell(", ".join(claim.testable_on)))
        features = [role for role in claim.features if role != DATA]
        what = Html(f"{data} <small>{cell(', '.join(features))}</small>") if features else data
        rows.append((sentence, _tested_by(claim, covered), what, by[claim.convention]))
    header = ("Claim", "Edition", "Tested by", "Convention of the paper's number")
    return table(header, rows, "What tests each claim", "cpssl-needs", fold=True)


def quoted_table(claims: Mapping[str, Claim], stem: str, covered: Mapping[str, list[str]]) -> Html:
    """The paper's numbers of a chapter that was not run, as quoted, and what tests each of them."""
    rows = []
    for claim in claims.values():
        if claim.chapter == stem.partition("_")[2]:
            sentence = Html(f"{cell(claim.sentence)} <small>{cell(claim.where)}</small>")
            value = "-" if claim.reason else number(claim.paper_value, claim)
            rows.append((sentence, value, _tested_by(claim, covered)))
    caption = "The paper's numbers, quoted: nothing here was measured"
    return table(("Claim", "Paper", "Tested by"), rows, caption) if rows else Html("")


def _tested_by(claim: Claim, covered: Mapping[str, list[str]]) -> Html:
    """Editions that test a claim, an edition of one's own, or why nobody can."""
    if claim.reason or claim.no_verdict:
        return Html(f"<em>{cell(needs(claim))}</em>")
    editions = ", ".join(name for name, ids in covered.items() if claim.id in ids)
    return Html(cell(editions or own_way(claim)))


def _offered(edition: Edition, stem: str) -> dict[str, set[str]]:
    """Features by data set, of what a chapter's parameters name."""
    found: dict[str, set[str]] = {}
    for name in edition.uses(stem):
        for data, features in load_manifest(name).get("offers", {}).items():
            found.setdefault(data, set()).update(features)
    return found


def _same_convention(claim: Claim, edition: Edition, source: Path) -> bool:
    """As in `claims.missing`; a chapter without such a parameter follows the claim's own."""
    known = parameters_of(source)
    spoken = known.get("convention") or known.get("rule")  # of scores of assays
    exact = claim.judge["kind"] in ("value", "values") and claim.convention in ("paper", "released")
    if not (exact and spoken):
        return True
    value = edition.chapters[source.stem].get(spoken.name, spoken.default)
    return (value == "released") == (claim.convention == "released")
