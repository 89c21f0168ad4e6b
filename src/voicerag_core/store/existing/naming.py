"""Names and constants of other people's tables as parts of statements with parameters."""

from __future__ import annotations

from psycopg import sql

__all__ = ["literal", "name", "raw"]


def name(identifier: str) -> sql.Composable:
    """Quote a name; a percent sign in it is no parameter."""
    return sql.Identifier(identifier.replace("%", "%%"))


def literal(value: str) -> sql.Composable:
    """Quote a constant; partial indexes are only used for constants."""
    return sql.Literal(value.replace("%", "%%"))


def raw(text: str) -> sql.Composable:
    """Take SQL of the catalogue or of the program's own settings as it is."""
    return sql.SQL(text.replace("%", "%%").replace("{", "{{").replace("}", "}}")).format()
