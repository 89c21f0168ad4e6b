"""Markdown: front matter into metadata, the rest into plain text."""

from __future__ import annotations

import html
import re
import tomllib
from typing import TYPE_CHECKING

from voicerag_core.documents.plain import check_value, decode, file_title, one_line
from voicerag_core.types import Document, JSONValue

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["read_markdown"]

_YAML_BLOCK = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_TOML_BLOCK = re.compile(r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_YAML_PAIR = re.compile(r"([\w.-]+):(?:[ \t]+(.*))?")
_YAML_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
_TAG = re.compile(r"<!--.*?-->|<[^<>]*>", re.DOTALL)
_CELLS = ("th_close", "td_close")
_BLOCKS = ("paragraph_close", "heading_close", "tr_close")


def read_markdown(source: str, data: bytes) -> list[Document]:
    """Read Markdown (CommonMark and tables) as the words that a reader sees.

    The title is that of the front matter, else the first heading, else the file's name.
    """
    metadata, body = _split_front_matter(decode(source, data))
    check_value(metadata, f"the front matter of {source}")
    text, heading = _plain(body)
    stated = metadata.pop("title", None)
    title = stated if isinstance(stated, str) else ""
    title = one_line(title) or heading or file_title(source)
    return [Document(source, text, title, metadata)] if text else []


def _plain(body: str) -> tuple[str, str]:
    """Return the text, blocks apart by empty lines, and the first heading."""
    from markdown_it import MarkdownIt

    blocks: list[str] = []
    current = heading = ""
    for token in MarkdownIt("commonmark").enable("table").parse(body):
        if token.type == "inline":
            current += _inline(token.children or [])
        elif token.type in _CELLS:
            current += "  "
        elif token.type in _BLOCKS:
            blocks.append(current.strip())
            if token.type == "heading_close":
                heading = heading or one_line(current)
            current = ""
        elif token.type in ("fence", "code_block"):
            blocks.append(token.content.rstrip())
        elif token.type == "html_block":
            blocks.append(_without_tags(token.content))
    return "\n\n".join(block for block in blocks if block), heading


def _inline(tokens: list[Token]) -> str:
    pieces = []
    for token in tokens:
        if token.type in ("text", "code_inline", "image"):
            pieces.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            pieces.append("\n")
    return "".join(pieces)


def _without_tags(block: str) -> str:
    return one_line(html.unescape(_TAG.sub(" ", block)))


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
    if text.startswith("[") and text.endswith("]"):
        return [_unquoted(item) for item in text[1:-1].split(",") if item.strip()]
    return "" if text in ("|", ">", "|-", ">-") else _unquoted(text)


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _json(value: object) -> JSONValue:
    """Make a TOML value one of JSON; dates become text."""
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return str(value)
