"""Tables of plain text: lines whose cells stand below each other."""

from __future__ import annotations

import pytest

from voicerag_core.documents.aligned_tables import aligned_table
from voicerag_core.documents.elements import Field, Paragraph, Table
from voicerag_core.documents.plain import text_elements

HALLS = """\
Halls are let by the evening:

    Hall          Seats   Firms        Members
    Great hall     220    EUR 480       EUR 240
    Old kitchen     35    EUR 90        free
    Loft            18    on request    free
"""


def test_names_above_columns_make_a_table() -> None:
    lead, table = text_elements(HALLS)
    assert lead == Paragraph("Halls are let by the evening:")
    assert isinstance(table, Table)
    assert table.header == 1
    assert table.rows[0] == ["Hall", "Seats", "Firms", "Members"]
    assert table.rows[2] == ["Old kitchen", "35", "EUR 90", "free"]


def test_a_lead_in_may_stand_right_above() -> None:
    lead, table = text_elements(HALLS.replace(":\n\n", ":\n"))
    assert lead == Paragraph("Halls are let by the evening:")
    assert isinstance(table, Table)
    assert len(table.rows) == 4


def test_two_columns_without_names_are_fields() -> None:
    text = "Hours are charged as follows:\n\n  Weekdays 8:00 to 18:00     EUR 75\n"
    text += "  Evenings                   EUR 95\n  Sundays and holidays       EUR 140\n"
    assert text_elements(text)[1:] == [
        Field("Weekdays 8:00 to 18:00", "EUR 75"),
        Field("Evenings", "EUR 95"),
        Field("Sundays and holidays", "EUR 140"),
    ]


def test_two_columns_with_names_are_a_table() -> None:
    text = (
        "Fares:\n\n  Route             Euro\n  Port to island    12.50\n  Island to port    9.00\n"
    )
    (table,) = text_elements(text)[1:]
    assert isinstance(table, Table)
    assert table.header == 1
    assert table.rows[1] == ["Port to island", "12.50"]


def test_a_cell_may_be_empty() -> None:
    text = "Rota:\n\n  Day       Morning   Evening\n  Monday    Ada       Ben\n"
    text += "  Tuesday             Cem\n  Friday    Dora      Ada\n"
    table = text_elements(text)[1]
    assert isinstance(table, Table)
    assert table.rows[2] == ["Tuesday", "", "Cem"]


@pytest.mark.parametrize(
    "lines",
    [
        ("ls -l", "total 12", "-rw-r--r--   1 ada  users   120 May  3 notes", "drwxr-xr-x   2 ada"),
        ("retries   = 3", "timeout   = 10", "hosts     = a, b"),
        ("-h    show this help", "-v    say more", "-q    say nothing"),
        ("git add      stage", "git commit   record", "git push     send"),
        ("Name:      Ada Lovelace", "Street:    12 Mill Lane", "Town:      Hexham"),
        ("1.   Close the valve.", "2.   Drain the tank.", "3.   Open the lid."),
        ("A   long sentence that was set in two columns by somebody goes on well beyond a cell",)
        * 3,
        (
            "Some prose that was  set with wide",
            "spaces here and there  has no column",
            "of  its own.",
        ),
    ],
)
def test_samples_lists_and_prose_are_no_tables(lines: tuple[str, ...]) -> None:
    assert not aligned_table(lines)
    elements = text_elements("Before it stands a line\n\n" + "\n".join(f"    {x}" for x in lines))
    assert not any(isinstance(one, Table) for one in elements)
