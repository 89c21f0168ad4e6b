"""Markdown and what its dialects add."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.documents.making import kinds, only, paths, places
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]


def test_markdown_is_read_as_its_words(read: Read) -> None:
    text = (
        "# The *first* one\n\nSee `code`, [a link](http://x.y) and ![a picture](p.png).\n\n"
        "- one\n- two\n  1. inner\n\n| a | b | c |\n|---|---|---|\n| 1 | 2 | |\n\n"
        "```py\n# not a heading\n```\n\n<div align='x'>in <b>tags</b> &amp; out</div>\n"
    )
    document = only(read("a.md", text))
    assert document.title == "The first one"
    assert kinds(document) == [
        ("heading", "The first one"), ("text", "See code, a link and a picture."), ("item", "one"),
        ("item", "two"), ("item", "1. inner"), ("row", "a: 1; b: 2"), ("code", "# not a heading"),
        ("text", "in tags & out"),
    ]  # fmt: skip


def test_headings_make_paths_and_anchors(read: Read) -> None:
    text = (
        "# Guide\n\nIntro.\n\n## Two "
        "words\n\nFirst.\n\n### Deep {#own}\n\nSecond.\n\n## Two words\n\nThird.\n"
    )
    document = only(read("a.md", text))
    assert paths(document) == [
        ("Guide", "Intro."), ("Guide > Two words", "First."),
        ("Guide > Two words > Deep", "Second."), ("Guide > Two words", "Third."),
    ]  # fmt: skip
    assert places(document)[1::2] == ["guide", "two-words", "own", "two-words-1"]


@pytest.mark.parametrize(
    "faq",
    [
        "## Who pays?\n\nThe seller.\n\n## When?\n\nAt once.\n",
        "**Who pays?**\n\nThe seller.\n\n**When?**\n\nAt once.\n",
        '??? question "Who pays?"\n    The seller.\n\n??? "When?"\n    At once.\n',
        (
            "<details><summary>Who pays?</summary>\n\nThe seller.\n</details>\n"
            "<details><summary>When?</summary>At once.</details>\n"
        ),
        "Who pays?\n: The seller.\n\nWhen?\n: At once.\n",
        "Q: Who pays?\n\nA: The seller.\n\nQ: When?\n\nA: At once.\n",
    ],
)
def test_questions_of_an_faq_stay_with_their_answers(read: Read, faq: str) -> None:
    document = only(read("faq.md", faq))
    assert paths(document) == [("Who pays?", "The seller."), ("When?", "At once.")]
    assert [kind for kind, _ in kinds(document)] == ["question", "text"] * 2


def test_a_summary_takes_no_earlier_question_into_its_path(read: Read) -> None:
    text = "### First?\n\nOne.\n\n<details><summary>Second?</summary>\n\nTwo.\n\n</details>\n"
    assert paths(only(read("a.md", text))) == [("First?", "One."), ("Second?", "Two.")]


def test_a_list_of_links_into_the_page_is_no_text(read: Read) -> None:
    text = "# FAQ\n\n- [Who pays?](#who-pays)\n- [When?](#when)\n\n## Who pays?\n\nThe seller.\n"
    assert kinds(only(read("a.md", text))) == [
        ("heading", "FAQ"), ("question", "Who pays?"), ("text", "The seller."),
    ]  # fmt: skip


def test_templates_are_gone_and_leave_their_words(read: Read) -> None:
    text = (
        '{% comment %}secret{% endcomment %}\n{% alert "warning" %}\nMind the step.\n'
        "{% endalert %}\n\nAsk in {% slack_channel "
        '"people-ops" %}; see the [guide]({% page "/x" %})'
        ' of {{ site.companyName }}.{:.lead}\n\n{{< copyable "sql" >}}\n\n{{#if}}Kept.{{/if}}\n\n'
        "```\n{{ kept }} {% kept %}\n```\n\nUse `{{ raw | x }}` and `{% y %}`.\n"
    )
    assert kinds(only(read("a.md", text))) == [
        ("text", "Mind the step."), ("text", "Ask in people-ops; see the guide of company name."),
        ("text", "Kept."), ("code", "{{ kept }} {% kept %}"), ("text", "Use raw and {% y %}."),
    ]  # fmt: skip


def test_marks_of_dialects_are_gone(read: Read) -> None:
    text = (
        "[TOC]\n\n> [!WARNING]\n> Hot.\n\n!!! note\n    Inner text.\n\n::: tip\nA tip.\n:::\n\n"
        "- [ ] open task\n- [x] done task\n\nSee ![[page#part]] and [[target|words]], ==light==,"
        " ~~old~~ new[^1].\n\n[^1]: The note.\n\n**\u573a\u666f 1\uff1a**\u76ee\u6807\u3002\n"
    )
    assert kinds(only(read("a.md", text))) == [
        ("text", "Hot."), ("text", "Inner text."), ("text", "A tip."), ("item", "open task"),
        ("item", "done task"), ("text", "See page and words, light, new."),
        ("text", "\u573a\u666f 1\uff1a\u76ee\u6807\u3002"), ("note", "The note."),
    ]  # fmt: skip


def test_a_lead_in_is_the_last_sentence_before_its_list(read: Read) -> None:
    text = "Keep calm. To report it, do this:\n\n1. Call.\n2. Write.\n"
    assert kinds(only(read("a.md", text))) == [
        ("text", "Keep calm."), ("lead", "To report it, do this:"), ("item", "1. Call."),
        ("item", "2. Write."),
    ]  # fmt: skip


def test_numbers_of_lists_go_on_where_they_start(read: Read) -> None:
    text = "3. Three.\n\n   More of it.\n\n       code\n\n4. Four.\n"
    assert kinds(only(read("a.md", text))) == [
        ("item", "3. Three.\nMore of it."), ("code", "code"), ("item", "4. Four."),
    ]  # fmt: skip


def test_yaml_front_matter_goes_to_metadata(read: Read) -> None:
    text = (
        "---\n# comment\ntitle: 'My: title'\ntags: [a, \"b\"]\nauthors:\n  - x\n  - y\n"
        "deep:\n  er: z\ndate: 2024-01-02\n---\n# Heading\n\nWords.\n"
    )
    document = only(read("a.md", text))
    assert document.title == "My: title"
    assert document.metadata == {"tags": ["a", "b"], "authors": ["x", "y"], "date": "2024-01-02"}
    assert document.text == "Heading\n\nWords."


@pytest.mark.parametrize(
    ("stated", "title"),
    [
        ('"Ann\\u0027s \\"best\\" & Co"', 'Ann\'s "best" & Co'),
        ("'It''s'", "It's"),
        ("Logging in &amp; Networks", "Logging in & Networks"),
        ("travel <em>before</em> work", "travel before work"),
    ],
)
def test_titles_are_plain(read: Read, stated: str, title: str) -> None:
    assert only(read("a.md", f"---\ntitle: {stated}\n---\nWords.\n")).title == title


def test_toml_front_matter_goes_to_metadata(read: Read) -> None:
    text = '+++\ntitle = "T"\nweight = 1.5\nday = 2024-01-02\nsub.key = [true]\n+++\nWords.\n'
    document = only(read("a.md", text))
    assert document.title == "T"
    assert document.metadata == {"weight": 1.5, "day": "2024-01-02", "sub": {"key": [True]}}
    for bad in ('a = "\\u0000"', "a = nan"):
        assert only(read("b.md", f"+++\n{bad}\n+++\nx")).metadata == {}


def test_a_rule_at_the_top_is_no_front_matter(read: Read) -> None:
    document = only(read("rules.md", "---\n\nSome words here.\n\n---\n\nMore words.\n"))
    assert document.metadata == {}
    assert document.title == "rules"
    assert document.text == "Some words here.\n\nMore words."
