"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "ROOT", "anchors", "commands", "links", "name_of", "snippets", "table"]

ROOT = Path(__file__).parents[1]
PAGES = tuple(
    sorted(
        page
        for pattern in ("*.md", "docs/**/*.md", "*/README.md", "*/*/README.md")
        for page in ROOT.glob(pattern)
        if not {".venv", "site", "node_modules"} & set(page.relative_to(ROOT).parts)
    )
)
GITHUB = "https://github.com/voicerag/voicerag/"


def name_of(page: Path) -> str:
    """Return the path of a page below the root."""
    return str(page.relative_to(ROOT))


def snippets(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command line of a page."""
    for block in snippets(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" && | \| ", line):
                if words := shlex.split(part, comments=True):
                    yield words


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link that leads into this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if found := re.fullmatch(rf"{GITHUB}(?:blob|tree)/main/([^#]+)(?:#(.*))?", target):
            yield ROOT / found[1], found[2] or ""
        elif "://" not in target:
            path, _, anchor = target.partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def table(page: Path, first: str) -> list[list[str]]:
    """Return the rows of the table whose first column is called so."""
    lines = page.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows
