"""Mails and what is attached to them."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

import pytest

from tests.documents.making import kinds, msg, pdf
from voicerag_core import DocumentError
from voicerag_core.chunking import chunk_document
from voicerag_core.documents import FileContent

Read = Callable[..., FileContent]


def mail(subject: str = "Crane", **parts: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Anna Berg <anna@example.org>"
    message["To"] = "team@example.org"
    message["Date"] = "Mon, 02 Mar 2026 09:30:00 +0100"
    if "text" in parts:
        message.set_content(parts["text"])
    if "html" in parts:
        add = message.add_alternative if "text" in parts else message.set_content
        add(parts["html"], subtype="html")
    return message


HEAD = [
    ("heading", "Crane"), ("field", "From: Anna Berg <anna@example.org>"),
    ("field", "To: team@example.org"), ("field", "Date: Mon, 02 Mar 2026 09:30:00 +0100"),
]  # fmt: skip


def test_a_mail_is_its_head_and_text(read: Read) -> None:
    text = (
        "The crane is repaired.\n\n- on Friday\n- on "
        "Monday\n\nOn 1 March Bo wrote:\n> When is the\n"
        "> crane repaired?\n\n-- \nAnna Berg\nHarbour office\n"
    )
    (document,) = read("a.eml", mail(text=text, html="<p>ignored</p>").as_bytes()).documents
    assert kinds(document) == [
        *HEAD, ("text", "The crane is repaired."), ("item", "on Friday"), ("item", "on Monday"),
        ("note", "On 1 March Bo wrote:\nWhen is the\ncrane repaired?"),
        ("note", "Anna Berg\nHarbour office"),
    ]  # fmt: skip
    assert document.title == "Crane"
    assert document.metadata == {
        "from": "Anna Berg <anna@example.org>", "to": "team@example.org",
        "date": "Mon, 02 Mar 2026 09:30:00 +0100",
    }  # fmt: skip


def test_a_mail_of_html_alone(read: Read) -> None:
    page = "<p>The <b>crane</b> is repaired.</p><ul><li>on Friday</ul>"
    (document,) = read("a.eml", mail(html=page).as_bytes()).documents
    assert kinds(document)[4:] == [("text", "The crane is repaired."), ("item", "on Friday")]


def test_what_is_attached_is_read_too(read: Read) -> None:
    inner = mail("Before", text="The hook broke.")
    message = mail(text="See the files.")
    message.add_attachment(pdf("The rope is new."), maintype="application", subtype="pdf",
                           filename="rope.pdf")  # fmt: skip
    message.add_attachment("part,price\nhook,4\nrope,9\n", subtype="csv", filename="parts.csv")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="logo.png")
    message.add_attachment(
        b"%PDF-broken", maintype="application", subtype="pdf", filename="bad.pdf"
    )
    message.add_attachment(inner)
    content = read("a.eml", message.as_bytes())
    assert [(d.source.rpartition("/")[2], d.title) for d in content.documents] == [
        ("a.eml", "Crane"), ("a.eml#attachment=rope.pdf", "rope"),
        ("a.eml#attachment=parts.csv", "parts"), ("a.eml#attachment=Before", "Before"),
    ]  # fmt: skip
    assert "The hook broke." in content.documents[3].text
    (rope,) = chunk_document(content.documents[1])
    assert rope.source.endswith("a.eml#attachment=rope.pdf&page=1")
    assert content.notices[0] == "the attachment 'logo.png' is of a kind that is not read"
    assert "a.eml, attachment bad.pdf cannot be read as PDF" in content.notices[1]


@pytest.mark.parametrize("charset", ["klingon", "iso-8859-1", "utf-8"])
def test_texts_are_decoded_as_they_say_or_by_detection(read: Read, charset: str) -> None:
    words = "Der Kran in Köln ist repariert, die Gebühr entfällt."
    body = words.encode("utf-8" if charset == "utf-8" else "latin-1")
    head = f"Subject: =?iso-8859-1?Q?K=F6ln?=\nContent-Type: text/plain; charset={charset}\n\n"
    (document,) = read("a.eml", head.encode() + body).documents
    assert document.title == "Köln"
    assert words in document.text


def test_what_is_no_mail_is_refused(read: Read) -> None:
    with pytest.raises(DocumentError, match="has no head"):
        read("a.eml", b"\n\nhello")


OUTLOOK = {
    0x37: "Crane",
    0x0C1A: "Anna Berg",
    0x5D01: "anna@example.org",
    0x0E04: "team@example.org",
}


@pytest.mark.parametrize("narrow", [None, "cp1252"])
def test_a_mail_of_outlook(read: Read, narrow: str | None) -> None:
    text = "The crane in Köln is repaired.\r\n\r\n-----Original Message-----\r\nWhen?"
    data = msg(
        {**OUTLOOK, 0x1000: text},
        narrow=narrow,
        attachments=[("parts.csv", b"part,price\nhook,4\nrope,9\n")],
    )
    mail_document, parts = read("a.msg", data).documents
    assert kinds(mail_document) == [
        *HEAD[:3], ("text", "The crane in Köln is repaired."), ("note", "When?"),
    ]  # fmt: skip
    assert parts.source.endswith("a.msg#attachment=parts.csv")
    assert "part: hook; price: 4" in parts.text


def test_a_mail_of_outlook_without_text_is_refused(read: Read) -> None:
    with pytest.raises(DocumentError, match=r"holds no mail that can be read; save it as \.eml"):
        read("a.msg", msg({}))
    with pytest.raises(DocumentError, match="not a mail of Outlook"):
        read("b.msg", b"hello")
