"""The page of functions, from the docstrings, and links to it from the chapters' code.

Sources are parsed, never imported: the page takes a second and needs nothing that the book has not.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from cpssl_lite.base.sources import PACKAGE

PAGE = "api"
MARK = "<!-- api -->"
# Rooms in the order in which they use each other; the command line has --help.
ROOMS = ("metrics", "images", "models", "profiles", "data", "bioactivity", "book", "base")
# As Pygments writes them: an import of ours, one name in it, and a call.
IMPORT = re.compile(
    r'<span class="nn">(cpssl_lite[\w.]*)</span>(?:<span class="w"> </span>| )'
    r'<span class="kn">import</span>( <span class="p">\(</span>[^)]*|[^\n]*)'
)
NAME = re.compile(r'<span class="n">(\w+)</span>')
CALL = re.compile(
    r'(?<!<span class="o">\.</span>)<span class="n">(\w+)</span>(?=<span class="p">\()'
)
BLOCK = re.compile(r"<pre>.*?</pre>", re.DOTALL)


class Public(NamedTuple):
    """A public function or class."""

    name: str
    signature: str  # names and defaults
    typed: str  # with types
    doc: str


def read_module(path: Path) -> tuple[str, list[Public]]:
    """Read a module's docstring and what it offers, in the order of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            doc = ast.get_docstring(node)
            if doc:
                found.append(Public(node.name, *_signatures(node), doc))
    return ast.get_docstring(tree) or "", found


def _signatures(node: ast.FunctionDef | ast.ClassDef) -> tuple[str, str]:
    if isinstance(node, ast.ClassDef):
        return node.name, f"class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    typed = f"{node.name}({ast.unparse(node.args)}){returns}"
    arguments = node.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        one.annotation = None
    for more in (arguments.vararg, arguments.kwarg):
        if more:
            more.annotation = None
    return f"{node.name}({ast.unparse(arguments)})", typed


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of every module of the rooms."""
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


def fill_api(stage: Path) -> None:
    """Put every public function into the page of functions of a staged book."""
    page = stage / f"{PAGE}.md"
    if not page.is_file():
        return
    lines: list[str] = []
    room = ""
    for module, path in modules():
        about, found = read_module(path)
        if module.count(".") == 1:
            room = module.split(".")[1]
            lines += [f"## {room}", _plain(about), ""]
        if found:
            lines += [f"### `{module}`", _plain(about.split("\n\n")[0]), ""]
            lines += [_entry(module, public) for public in found]
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(MARK, "\n".join(lines)), encoding="utf-8")


def _entry(module: str, public: Public) -> str:
    """One function: name and first line for all to see, the rest folded and as it is written."""
    first, _, rest = public.doc.partition("\n")
    anchor = f'<span id="{module}.{public.name}"></span>'
    shown = f"{anchor}`{public.signature}`\n: {_plain(first)}\n"
    body = escape(f"{public.typed}\n\n{rest.strip()}".strip())
    return (
        f'{shown}\n```{{raw}} html\n<details class="cpssl-api-more"><summary>{public.name}: '
        f"all of it</summary><pre>{body}</pre></details>\n```\n"
    )


def _plain(text: str) -> str:
    """Text of a docstring as Markdown: code stays code, nothing else is markup."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else _escaped(p) for p in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([*_$<>\[\]{}\\&#])", r"\\\1", text)


def anchors(page: str) -> dict[str, str]:
    """Anchors of the rendered page of functions, by module and name."""
    return {name: f"#{name}" for name in re.findall(r'<span id="(cpssl_lite\.[\w.]+)"', page)}


def link_code(text: str, known: Mapping[str, str], up: str) -> str:
    """Link what a page's code imports from the package to the page of functions.

    Only names that the page imports by name, in the import and where they are called.
    """
    imported = {
        name: f"{module}.{name}"
        for module, names in IMPORT.findall(text)
        for name in NAME.findall(names)
        if f"{module}.{name}" in known
    }
    if not imported:
        return text

    def link(found: re.Match[str]) -> str:
        name = found[1]
        if name not in imported:
            return found[0]
        href = f"{up}{PAGE}.html{known[imported[name]]}"
        return f'<a class="cpssl-api" href="{href}">{found[0]}</a>'

    def in_block(block: re.Match[str]) -> str:
        code = IMPORT.sub(lambda one: one[0].replace(one[2], NAME.sub(link, one[2])), block[0])
        return CALL.sub(link, code)

    return BLOCK.sub(in_block, text)
