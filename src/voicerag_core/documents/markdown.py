"""Markdown: front matter into metadata, the rest by way of HTML into elements."""

from __future__ import annotations

import json
import re
import tomllib

from voicerag_core.documents.decoding import check_text, decode
from voicerag_core.documents.elements import Draft, Element, Heading
from voicerag_core.documents.faq import paired
from voicerag_core.documents.html_tree import tree_of
from voicerag_core.documents.html_walk import HTMLWalk
from voicerag_core.documents.markdown_dialects import as_commonmark
from voicerag_core.documents.tables import check_value
from voicerag_core.documents.titles import plain_title, without_markdown
from voicerag_core.errors import DocumentError
from voicerag_core.types import JSONValue

__all__ = ["markdown_elements", "read_markdown"]

_YAML_BLOCK = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_TOML_BLOCK = re.compile(r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_YAML_PAIR = re.compile(r"([\w.-]+):(?:[ \t]+(.*))?")
_YAML_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')(?:\s+#.*)?""")
_YAML_COMMENT = re.compile(r"(?:^|\s+)#\s.*")  # "#5" is none: people write it unquoted
_YAML_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|([ _'NLPae0v]))")
_YAML_CHARACTERS = {
    " ": " ", "_": "\xa0", "'": "'", "N": "\n", "L": "\n", "P": "\n", "a": "", "e": "", "0": "",
    "v": " ",
}  # fmt: skip
"""What YAML escapes besides JSON."""
_YAML_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
_QUOTES = 2


def read_markdown(data: bytes, source: str, encoding: str | None = None) -> list[Draft]:
    """Read Markdown (CommonMark, tables, and what common dialects add) as a reader sees it.

    The title is that of the front matter, else the first heading, else the file's name.
    """
    text, notices = decode(data, source, encoding=encoding)
    metadata, body = _split_front_matter(text)
    try:
        check_value(metadata, f"the front matter of {source}")
    except DocumentError:
        metadata = {}
    elements = markdown_elements(body)
    if not elements:
        return []
    stated = metadata.pop("title", None)
    title = plain_title(without_markdown(stated)) if isinstance(stated, str) else ""
    title = title or next((e.text for e in elements if isinstance(e, Heading)), "")
    return [Draft([*notices, *elements], title, metadata)]


def markdown_elements(text: str) -> list[Element]:
    """Return the elements of a text in Markdown."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = parser.render(as_commonmark(text))
    if not page.strip():
        return []
    return paired(HTMLWalk(written=True).walk(tree_of(page)))


def _split_front_matter(text: str) -> tuple[dict[str, JSONValue], str]:
    """Take the front matter off; a block at the top that is none stays in the text."""
    if match := _TOML_BLOCK.match(text):
        try:
            fields = tomllib.loads(match[1])
        except (tomllib.TOMLDecodeError, RecursionError):
            return {}, text
        return {key: _json(value) for key, value in fields.items()}, text[match.end() :]
    if match := _YAML_BLOCK.match(text):
        metadata = _yaml_fields(match[1])
        if metadata is not None:
            return metadata, text[match.end() :]
    return {}, text


def _yaml_fields(block: str) -> dict[str, JSONValue] | None:
    """Read pairs and lists of scalars as strings; deeper structure is left out.

    Returns:
        None when the block is not of the form of YAML pairs.
    """
    fields: dict[str, JSONValue] = {}
    key = ""
    for line in block.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if pair := _YAML_PAIR.fullmatch(line.rstrip()):
            key = pair[1]
            fields[key] = _yaml_value(pair[2] or "")
        elif not key:
            return None
        elif item := _YAML_ITEM.fullmatch(line.rstrip()):
            items = fields[key]
            fields[key] = [*(items if isinstance(items, list) else []), _unquoted(item[1])]
        elif not line.startswith((" ", "\t")):
            return None
    return {name: value for name, value in fields.items() if value != ""} if fields else None


def _yaml_value(text: str) -> JSONValue:
    if quoted := _YAML_QUOTED.fullmatch(text):
        text = quoted[1]
    elif not text.startswith(("'", '"')):
        text = _YAML_COMMENT.sub("", text)
    if text.startswith("[") and text.endswith("]"):
        return [_unquoted(item) for item in text[1:-1].split(",") if item.strip()]
    return "" if text in ("|", ">", "|-", ">-") else _unquoted(text)


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) < _QUOTES or text[0] != text[-1] or text[0] not in "\"'":
        return text
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    try:
        value = json.loads(_YAML_ESCAPE.sub(_as_json, text))
        check_text(value, "")
    except (ValueError, DocumentError):
        return text[1:-1]
    return str(value)


def _as_json(escape: re.Match[str]) -> str:
    """Write an escape that only YAML has as JSON does."""
    code = escape[1] or escape[2]
    try:
        character = chr(int(code, 16)) if code else _YAML_CHARACTERS[escape[3]]
    except (OverflowError, ValueError):
        return escape[0]
    return json.dumps(character)[1:-1]


def _json(value: object) -> JSONValue:
    """Make a TOML value one of JSON; dates become text."""
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return str(value)
