"""Web pages: what is text of the page, and how it is built."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.documents.making import kinds, only, paths, places
from voicerag_core import DocumentError
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]

PAGE = """<!doctype html><html><head><title> A  page &amp; more </title><style>p{}</style></head>
<body><nav><ul><li>menu</ul><footer>nested</footer></nav>
<h1>Head<a class="headerlink" href="#x">¶</a></h1>
<p>Some <b>bo</b>ld
   words.<br>Next line.</p><script>alert("no")</script><!-- no -->
<ul><li>one<li>two</ul><table><tr><td>a<td>b<tr><td>c</table>
<pre>x = 1
y = 2</pre><p hidden>no</p><footer>no</footer></body></html>"""


def test_html_is_read_as_its_words(read: Read) -> None:
    document = only(read("a.html", PAGE))
    assert document.title == "A page & more"
    assert kinds(document) == [
        ("heading", "Head"), ("text", "Some bold words.\nNext line."), ("item", "one"),
        ("item", "two"), ("row", "a: b"), ("row", "c"), ("code", "x = 1\ny = 2"),
    ]  # fmt: skip


MUCH = "<p>The library opens at nine and closes at six on all days but Sunday.</p>"


@pytest.mark.parametrize(
    "rest",
    [
        "<nav><a href='/'>Home</a></nav>",
        "<div class='navheader'><table><tr><td>Prev<td>Up<td>Next</table></div>",
        "<div class='navfooter'>Prev Up Next</div>",
        "<div class='toc'><dl><dt>Part one</dt><dt>Part two</dt></dl></div>",
        "<ol class='breadcrumb'><li>Home</li><li>Books</li></ol>",
        "<div class='breadcrumbs'>Home / Books</div>",
        "<div id='cookie-banner'>We use cookies. <button>Accept</button></div>",
        "<div class='cc-consent-modal'><p>Your privacy</p><input type=checkbox></div>",
        "<header><p>Site of the city</p></header>",
        "<footer>Imprint</footer>",
        "<div role='navigation'>Menu</div>",
        "<button class='share'>Share</button>",
        "<a class='skip-link' href='#main'>Skip</a>",
        "<aside class='sidebar'><p>Popular pages</p></aside>",
        "<div aria-hidden='true'>hidden</div><div style='display:none'>hidden</div>",
        "<ul><li><a href='#a'>Part one</a><li><a href='#b'>Part two</a></ul>",
        "<select><option>English</select><textarea>write</textarea>",
    ],
)
def test_what_frames_a_page_is_no_text_of_it(read: Read, rest: str) -> None:
    for page in (f"<body>{rest}{MUCH}</body>", f"<body>{MUCH}{rest}</body>"):
        assert [kind for kind, _ in kinds(only(read("a.html", page)))] == ["text"]


@pytest.mark.parametrize(
    "page",
    [
        f"<div class='menu'>{MUCH}</div><p>Short.</p>",
        f"<section id='cookies'><h2>Cookies</h2>{MUCH}</section><p>{'Else. ' * 40}</p>",
        f"<main></main><div>{MUCH}</div>",
        f"<main><p>Now.</p></main><div>{MUCH}</div>",
        f"<div>{MUCH}</div><article>Teaser</article>",
        f"<article><header><h1>Title</h1></header>{MUCH}</article>",
        f"<div class='nav-open'>{MUCH}</div>",
    ],
)
def test_what_holds_the_words_is_kept(read: Read, page: str) -> None:
    assert "The library opens at nine" in only(read("a.html", page)).text


def test_the_main_part_of_a_page_is_taken(read: Read) -> None:
    page = "<body><div>banner</div><main><h1>Title</h1><p>Words of it</main><div>end</div>"
    document = only(read("a.htm", page))
    assert (document.title, document.text) == ("Title", "Title\n\nWords of it")


@pytest.mark.parametrize(
    "faq",
    [
        (
            "<dl><dt>Who pays?</dt><dd>The seller pays "
            "for it.</dd><dt>When?</dt><dd>At once.</dd></dl>"
        ),
        (
            "<button aria-expanded=false aria-controls=p1>Who pays?</button>"
            "<div id=p1 hidden>The seller pays for it.</div>"
            "<button aria-controls=p2>When?</button><div id=p2 hidden>At once.</div>"
        ),
        (
            "<details><summary>Who pays?</summary><p>The seller pays for it.</p></details>"
            "<details><summary>When?</summary>At once.</details>"
        ),
        (
            "<p><strong>Who pays?</strong></p><p>The seller pays for it.</p>"
            "<p><b>When?</b></p><p>At once.</p>"
        ),
        "<h3>Who pays?</h3><p>The seller pays for it.</p><h3>When?</h3><p>At once.</p>",
    ],
)
def test_questions_of_an_faq_stay_with_their_answers(read: Read, faq: str) -> None:
    assert paths(only(read("a.html", faq))) == [
        ("Who pays?", "The seller pays for it."), ("When?", "At once."),
    ]  # fmt: skip


def test_terms_are_headings_of_their_explanation_alone(read: Read) -> None:
    page = (
        "<h2>Settings</h2><dl><div><dt>port</dt><dt>host</dt><dd><p>Where it listens.</p>"
        "<ul><li>a number</ul></dd></div></dl><p>After.</p>"
        "<dl><dt>Weight</dt><dd>4 kg</dd><dt>Length</dt><dd>2 m</dd></dl>"
    )
    document = only(read("a.html", page))
    assert paths(document) == [
        ("Settings > port / host", "Where it listens."), ("Settings > port / host", "a number"),
        ("Settings", "After."), ("Settings", "Weight: 4 kg"), ("Settings", "Length: 2 m"),
    ]  # fmt: skip


def test_tables_have_columns_spans_and_a_caption(read: Read) -> None:
    page = (
        "<table><caption>Fees</caption><thead><tr><th rowspan=2>Ship<th colspan=2>Fee</tr>"
        "<tr><th>summer<th>winter</tr></thead><tbody><tr><td>Boat<td rowspan=2>9 euros<td>5 euros"
        "<tr><td>Barge<td>7 euros<tr><td colspan=3>Old "
        "ships<tr><td>Cog<td>1 euro<td></tbody></table>"
    )
    assert kinds(only(read("a.html", page))) == [
        ("lead", "Fees"),
        ("row", "Ship: Boat; Fee summer: 9 euros; Fee winter: 5 euros"),
        ("row", "Ship: Barge; Fee summer: 9 euros; Fee winter: 7 euros"),
        ("row", "Old ships"), ("row", "Old ships; Ship: Cog; Fee summer: 1 euro"),
    ]  # fmt: skip


def test_tables_that_lay_a_page_out_are_none(read: Read) -> None:
    page = (
        "<table><tr><td><p>Left words.</p><td><table><tr><td>a<td>b<tr><td>1<td>2</table></table>"
    )
    assert [kind for kind, _ in kinds(only(read("a.html", page)))] == ["text", "row"]


def test_places_are_anchors(read: Read) -> None:
    page = (
        "<p>Before.</p><h2 "
        "id=fees>Fees</h2><p>Nine.</p><section id=s><h2>Stay</h2><p>Ten.</section>"
    )
    assert places(only(read("a.html", page))) == ["", "fees", "fees", "s", "s"]


def test_a_title_in_a_box_is_no_heading(read: Read) -> None:
    page = "<h2>Dump</h2><p>First.</p><div class=note><h3>Note</h3><p>Second.</p></div>"
    assert paths(only(read("a.html", page))) == [("Dump", "First."), ("Dump", "Second.")]


def test_looks_of_a_style_sheet_tell_headings_and_raised_figures(read: Read) -> None:
    page = (
        "<style>.c1{font-weight:bold;font-size:24pt} .c2{font-weight:700;font-size:14pt}"
        " .c3{vertical-align:super} .c4{}</style><p><span class=c1>Book</span></p>"
        "<p><span class=c2>Part</span></p><p>It is 10<span "
        "class=c3>6</span> <span class=c4>cells.</span></p>"
    )
    assert paths(only(read("a.html", page))) == [("Book > Part", "It is 10^6 cells.")]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="utf-8">', "utf-8"),
        ("<meta charset=latin1>", "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=GB2312">', "gb18030"),
        ('<?xml version="1.0" encoding="Shift_JIS"?>', "cp932"),
        ("", "utf-8"),
        ("<meta charset=latin1>", "utf-8-sig"),
        ("<meta charset=klingon>", "utf-8"),
    ],
)
def test_html_is_decoded_as_it_says(read: Read, head: str, encoding: str) -> None:
    words = {"cp1252": "“Käse”", "cp932": "日本語"}.get(encoding, "汉语")
    document = only(read("a.html", f"{head}<p>{words}</p>".encode(encoding)))
    assert document.text == words


def test_html_in_another_encoding_than_it_says_is_detected(read: Read) -> None:
    content = read("a.html", "<meta charset=utf-8><p>Käse aus Köln".encode("latin-1"))
    assert only(content).text == "Käse aus Köln"
    assert len(content.notices) == 1


def test_a_page_made_by_a_script_is_refused(read: Read) -> None:
    with pytest.raises(DocumentError, match="holds no text"):
        read("a.html", "<title>App</title><body><div id=root></div><script>x</script>")


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td", "blockquote", "custom-x"])
def test_deep_nesting_is_read(read: Read, tag: str) -> None:
    page = f"<{tag}>" * 20_000 + "words"
    assert "words" in only(read("a.html", page)).text
    assert "words" in only(read("a.md", page)).text


TABS = {
    "material": """<div class="tabbed-set"><input type="radio" id="t1"><input type="radio" id="t2">
        <div class="tabbed-labels"><label for="t1">Linux</label>
        <label for="t2">Windows</label></div>
        <div class="tabbed-content"><div class="tabbed-block"><p>Use apt.</p></div>
        <div class="tabbed-block"><p>Use the installer.</p></div></div></div>""",
    "docusaurus": """<div class="tabs-container"><ul role="tablist" class="tabs">
        <li role="tab">Linux</li><li role="tab">Windows</li></ul><div class="margin-top--md">
        <div role="tabpanel"><p>Use apt.</p></div>
        <div role="tabpanel" hidden><p>Use the installer.</p></div></div></div>""",
    "vitepress": """<div class="vp-code-group"><div class="tabs"><input><label>Linux</label><input>
        <label>Windows</label></div><div class="blocks"><div><p>Use apt.</p></div>
        <div><p>Use the installer.</p></div></div></div>""",
    "bootstrap": """<ul class="nav nav-tabs" role="tablist"><li><a href="#a">Linux</a></li>
        <li><a href="#b">Windows</a></li></ul><div class="tab-content"><div id="a">Use apt.</div>
        <div id="b">Use the installer.</div></div>""",
}  # fmt: skip


@pytest.mark.parametrize("maker", TABS)
def test_what_a_tab_shows_stands_below_its_label(read: Read, maker: str) -> None:
    page = f"<h1>Install</h1>{TABS[maker]}<p>Then restart the machine.</p>"
    assert paths(only(read("a.html", page))) == [
        ("Install > Linux", "Use apt."),
        ("Install > Windows", "Use the installer."),
        ("Install", "Then restart the machine."),
    ]


NOTES = (
    """<section class="footnotes" role="doc-endnotes"><ol><li id="fn1"><p>Not on Sundays.
    <a href="#r" role="doc-backlink">\u21a9\ufe0e</a></p></li></ol></section>""",
    """<div class="footnote"><hr><ol><li>Not on Sundays.&#160;
    <a class="footnote-backref" href="#r">\u21a9</a></li></ol></div>""",
    """<aside class="footnote-list"><aside role="doc-footnote"><span class="label">[1]</span>
    <p>Not on Sundays.</p></aside></aside>""",
    """<div id="sdfootnote1"><p><a class="sdfootnotesym"
    href="#x">1</a>Not on Sundays.</p></div>""",
)


@pytest.mark.parametrize("note", NOTES)
def test_footnotes_are_notes_without_their_marks(read: Read, note: str) -> None:
    blocks = kinds(only(read("a.html", f"<h1>Hours</h1><p>Open from nine to five.</p>{note}")))
    assert blocks[2:] == [("note", "Not on Sundays.")]


def test_links_that_skip_and_titles_of_boxes_are_no_text(read: Read) -> None:
    page = (
        '<a href="#main" class="md-skip">Skip to content</a><div id="main"><h1>Keys</h1>'
        '<div class="alert"><strong>Warning</strong><p>Never lend a key.</p></div>'
        "<p><strong>Note:</strong> The box is red.</p>"
        "<p><strong>Red</strong> keys open all doors.</p></div>"
    )
    assert [text for _, text in kinds(only(read("a.html", page)))] == [
        "Keys", "Never lend a key.", "The box is red.", "Red keys open all doors.",
    ]  # fmt: skip


def test_a_page_of_nested_menus_and_few_words_keeps_its_words(read: Read) -> None:
    menu = "<nav><ul><li>" + "<nav>one two three</nav>" * 20 + "</ul></nav>"
    page = f'{menu}<h1>Loom<a class="headerlink" href="#x">\uf0c1</a></h1><p>It needs a card.</p>'
    assert kinds(only(read("a.html", page))) == [
        ("heading", "Loom"), ("text", "It needs a card."),
    ]  # fmt: skip


def test_the_title_of_a_box_goes_and_the_same_word_as_a_value_stays(read: Read) -> None:
    page = (
        "<p>Note:</p><p>Do it twice.</p><ul><li>Info</li><li>Tips</li><li>Others</li></ul>"
        "<table><tr><th>Key</th><th>Values</th><th>Default</th></tr>"
        "<tr><td>level</td><td>error or info</td><td>info</td></tr>"
        "<tr><td>Notes</td><td>lists, notes</td><td>notes</td></tr></table>"
    )
    assert only(read("a.html", page)).text.split("\n\n") == [
        "Do it twice.",
        "Info",
        "Tips",
        "Others",
        "Key: level; Values: error or info; Default: info",
        "Key: Notes; Values: lists, notes; Default: notes",
    ]
