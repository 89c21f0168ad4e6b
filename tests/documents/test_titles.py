"""Titles without the escapes and marks of the format that they come from."""

from __future__ import annotations

import pytest

from voicerag_core.documents.formats import parse


def title(name: str, text: str) -> str:
    suffix = name[name.rindex(".") :]
    return parse(text.encode(), name, suffix).documents[0].title


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("Logging in &amp; Networks", "Logging in & Networks"),
        ("Fish &amp;amp; chips", "Fish & chips"),
        ("Caf&eacute; &#8211; caf&#xE9;", "Café – café"),
        ("Get set up <em>before</em> you travel", "Get set up before you travel"),
        ('Open the <a href="x.html"><b>main</b> valve</a>', "Open the main valve"),
        ('"Ann\\u0027s &amp; Co guide"', "Ann's & Co guide"),
        (r'"Caf\xe9 \"Ole\" \U0001F600"', 'Café "Ole" \N{GRINNING FACE}'),
        ("'It''s open'", "It's open"),
        ("'It''s open'   # working title", "It's open"),
        ("Opening hours # to be checked", "Opening hours"),
        ("Issue #5 of C#", "Issue #5 of C#"),
        (r"snake\_case and 5 \* 3", "snake_case and 5 * 3"),
        ("The **new** `pump` and _all_ valves", "The new pump and all valves"),
        ("See [the guide](guide.md) first", "See the guide first"),
        ("snake_case_name and __init__", "snake_case_name and init"),
        ("The <em> element", "The <em> element"),
        ("R&D; AT&T", "R&D; AT&T"),
        ("Less < more > less", "Less < more > less"),
        ("Fees {#fees}", "Fees"),
    ],
)
def test_a_title_of_front_matter_is_shown_as_it_is_read(stated: str, shown: str) -> None:
    assert title("a.md", f"---\ntitle: {stated}\n---\nThe office opens at nine.\n") == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Logging in &amp;amp; Networks", "Logging in & Networks"),
        ("Set up &lt;em&gt;before&lt;/em&gt; you go", "Set up before you go"),
        ("snake_case_name * 2", "snake_case_name * 2"),
        ("Fees¶", "Fees"),
    ],
)
def test_a_title_of_a_page(written: str, shown: str) -> None:
    page = f"<html><head><title>{written}</title></head><body><p>The office opens at nine.</p>"
    assert title("a.html", page) == shown


def test_titles_of_rows_and_of_files() -> None:
    assert title("a.csv", "title,text\nFish &amp; chips,We fry at noon.\n") == "Fish & chips"
    assert title("a.jsonl", '{"title": "Fish &amp; <b>chips</b>", "text": "At noon."}') == (
        "Fish & chips"
    )
    assert title("my_old_notes.txt", "The office opens at nine.") == "my_old_notes"


@pytest.mark.parametrize("mark", ["*a ", "`", "`a", "[", "~~a", "{%", "<b>"])
def test_a_title_of_many_open_marks_ends_soon(mark: str) -> None:
    assert title("a.md", f"---\ntitle: '{mark * 30_000}'\n---\nThe office opens at nine.")
