"""What dialects of Markdown and site generators add, rewritten as CommonMark with HTML.

Known are templates (Liquid, Jinja, Mustache, shortcodes of Hugo), admonitions of MkDocs, GitHub and
VitePress, wiki links and highlights of note programs, footnotes, lists of definitions, ids of
headings, and marks for tables of contents. Code stays as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from voicerag_core.documents.form_lines import is_form_line

__all__ = ["as_commonmark"]

_FENCE = re.compile(r"[ >]*(`{3,}|~{3,})")
_INLINE_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")

_COMMENTED = re.compile(r"\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}", re.DOTALL)
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TAG = re.compile(r"\{%-?\s*(\w+)?(.*?)-?%\}", re.DOTALL)
_END_TAG = re.compile(r"\{%-?\s*end(\w+)")
_ARGUMENT = re.compile(r"""(?<=\s)(["'])([^"'/]+)\1""")
_TARGET = re.compile(r"\]\(\s*(?:\{[{%].*?[}%]\}\}?[^)\s]*|[^)\s{]*\{[{%].*?[}%]\}\}?[^)\s]*)\s*\)")
_VARIABLE = re.compile(r"\{\{\{?-?\s*(?:&|\.)?\s*([A-Za-z_][\w.-]*)\s*(?:\|[^{}]*)?-?\}\}\}?")
_EXPRESSION = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.-]+")
_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}|(?<=[)\]`*_])\{[.#][^{}\n]*\}")

_CALLOUT = re.compile(r"(?m)^((?:[ \t]*>)+[ \t]*)\[!\w+\][+-]?(?:[ \t]+(\S.*))?$")
_WIKI_LINK = re.compile(r"!?\[\[([^\[\]|\n]+)(?:\|([^\[\]\n]+))?\]\]")
_HIGHLIGHT = re.compile(r"==(?=\S)([^=\n]+?)(?<=\S)==")
_EMPTY_LINES = re.compile(r"(\n[^\S\n]*\n\s*)")
_KEYS = re.compile(r"\+\+([a-z][a-z0-9-]*(?:\+[a-z0-9][a-z0-9-]*)*)\+\+")
_TASK = re.compile(r"(?m)^([ \t>]*(?:[-*+]|\d+[.)])[ \t]+)\[[ xX]\][ \t]+")
_CONTENTS = re.compile(r"(?mi)^\s*(?:\[\[_?toc_?\]\]|\[toc\]|\{:toc\}|\$\{toc\})\s*$")
_NOTE_MARK = re.compile(r"\[\^[^\]\s]+\](?!:)")
_NOTE = re.compile(r"\[\^([^\]\s]+)\]:[ \t]*(.*)")
_ADMONITION = re.compile(
    r"([ \t]*)(!!!|\?\?\?\+?|===)[ \t]+([\w -]*?)[ \t]*(?:[\"\u201c](.*)[\"\u201d])?[ \t]*"
)
_CONTAINER = re.compile(r"[ \t]*:{3,}[ \t]*(?:\{?[\w.#-]+\}?)?(?:[ \t]+(.*))?")
_DEFINITION = re.compile(r"[ \t]{0,3}:[ \t]+(\S.*)")
_IMPORT = re.compile(r"(?:import\s.+\sfrom\s+['\"].+['\"]|export\s+(?:const|default)\s.+);?\s*")


def as_commonmark(text: str) -> str:
    """Return a text with the additions of dialects as CommonMark, or gone."""
    if "{" in text:
        text = _COMMENTED.sub("", text)
    ends = frozenset(_END_TAG.findall(text))
    pieces = []
    for is_code, lines in _parted(text):
        pieces.append("\n".join(lines) if is_code else _prose("\n".join(lines), ends))
    return _noted(_structured(_with_breaks("\n".join(pieces))))


def _with_breaks(text: str) -> str:
    """Let paragraphs in which every line names a value keep their lines."""
    parts = _EMPTY_LINES.split(text)
    for i, part in enumerate(parts):
        lines = part.rstrip("\n").split("\n")
        if len(lines) > 1 and all(
            not line.startswith("    ") and is_form_line(line) for line in lines
        ):
            parts[i] = "  \n".join(line.rstrip() for line in lines)
    return "".join(parts)


def _parted(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Yield runs of lines: fenced code, and what is not."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if not fence and match:
            if lines:
                yield False, lines
            lines, fence = [line], match[1]
        elif fence and match and match[1].startswith(fence) and line.strip(" >") == match[1]:
            yield True, [*lines, line]
            lines, fence = [], ""
        else:
            lines.append(line)
    if lines:
        yield bool(fence), lines


def _prose(text: str, ends: frozenset[str]) -> str:
    """Rewrite what stands in running text, outside inline code."""
    parts = []
    position = 0
    for code in _INLINE_CODE.finditer(text):
        if "\n\n" in code[0]:
            continue
        is_template = _VARIABLE.fullmatch(code[2].strip()) is not None
        shown = _inline(code[0], ends) if is_template else code[0]
        parts += [_inline(text[position : code.start()], ends), shown]
        position = code.end()
    return "".join([*parts, _inline(text[position:], ends)])


def _inline(text: str, ends: frozenset[str]) -> str:
    if "{" in text:
        text = _TARGET.sub("](#)", text)
        text = _JINJA_COMMENT.sub("", text)
        text = _TAG.sub(lambda tag: _tag_words(tag, ends), text)
        text = _VARIABLE.sub(lambda match: _variable_words(match[1]), text)
        text = _EXPRESSION.sub("", text)
        text = _ATTRIBUTES.sub("", text)
    if "[" in text:
        text = _CONTENTS.sub("", text)
        text = _CALLOUT.sub(lambda match: match[1] + (f"{match[2]}  " if match[2] else ""), text)
        text = _WIKI_LINK.sub(lambda match: match[2] or match[1].split("#")[0] or match[1], text)
        text = _NOTE_MARK.sub("", text)
        text = _TASK.sub(r"\1", text)
    if "++" in text:
        text = _KEYS.sub(lambda match: match[1].title(), text)
    return _HIGHLIGHT.sub(r"\1", text) if "==" in text else text


def _variable_words(name: str) -> str:
    """Return the words that the name of a variable is made of: "companyName", "company name"."""
    words = _CAMEL.sub(" ", name.rsplit(".", maxsplit=1)[-1]).split()
    return " ".join(word.lower() if word.istitle() else word for word in words)


def _tag_words(tag: re.Match[str], ends: frozenset[str]) -> str:
    """Return the words that a template's tag stands for: its last quoted argument that is no path.

    A tag that opens a block stands for none.
    """
    name, rest = tag[1] or "", tag[2]
    if name in ends or name.startswith("end") or "=" in rest:
        return ""
    arguments = _ARGUMENT.findall(rest)
    if not arguments or name in ("include", "include_relative", "extends", "import", "load"):
        return ""
    return html.escape(arguments[-1][1])


def _structured(text: str) -> str:
    """Rewrite what is built of whole lines: admonitions, containers, definitions."""
    if not re.search(r"(?m)^[ \t]*(?:!!!|\?\?\?|===[ \t]|:{3,}|:[ \t]|import |export )", text):
        return text
    out: list[str] = []
    closing: list[tuple[int, str]] = []
    in_fence = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match and (not in_fence or match[1].startswith(in_fence)):
            in_fence = "" if in_fence else match[1]
        indent = len(line) - len(line.lstrip(" \t"))
        while closing and line.strip() and indent <= closing[-1][0] and not in_fence:
            out += ["", closing.pop()[1], ""]
        shift = closing[-1][0] + 4 if closing else 0
        line = line[min(shift, indent) :] if shift else line  # noqa: PLW2901
        if in_fence:
            out.append(line)
        elif admonition := _ADMONITION.fullmatch(line):
            before, after = _admonition(admonition)
            out += ["", before, ""]
            closing.append((indent, after))
        elif (container := _CONTAINER.fullmatch(line)) is not None:
            out += ["", f"**{container[1]}**" if container[1] else "", ""]
        elif (definition := _DEFINITION.fullmatch(line)) and out and out[-1].strip():
            _define(out, definition[1])
        elif not _IMPORT.fullmatch(line):
            out.append(line)
    out += [piece for _, after in reversed(closing) for piece in ("", after, "")]
    return "\n".join(out)


def _admonition(match: re.Match[str]) -> tuple[str, str]:
    """Return the lines before and after what an admonition of MkDocs holds."""
    title = html.escape(match[4] or "")
    if match[2].startswith("?") or title.endswith("?"):
        return f"<details><summary>{title}</summary>", "</details>"
    return (f"**{match[4]}**" if title else ""), ""


def _define(out: list[str], definition: str) -> None:
    """Make the last line a term; or add to the terms that it belongs to."""
    if out[-1] == "</dl>":
        out[-1:] = [f"<dd>{definition}</dd>", "</dl>"]
        return
    term = out.pop()
    out += ["", "<dl>", f"<dt>{term}</dt>", f"<dd>{definition}</dd>", "</dl>"]


def _noted(text: str) -> str:
    """Move the texts of footnotes behind the rest."""
    if "[^" not in text:
        return text
    kept: list[str] = []
    notes: list[str] = []
    in_note = False
    for line in text.split("\n"):
        if match := _NOTE.match(line):
            notes += [match[2], ""]
            in_note = True
        elif in_note and line.startswith(("    ", "\t")):
            notes.append(line.strip())
        else:
            in_note = in_note and not line.strip()
            kept.append(line)
    if not notes:
        return text
    return "\n".join([*kept, "", "<voicerag-note>", "", *notes, "", "</voicerag-note>", ""])
