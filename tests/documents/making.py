"""Files made for tests, and a short form of what a reader gives."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

from voicerag_core import Document
from voicerag_core.documents import FileContent

SECTOR = 512


def only(content: FileContent) -> Document:
    (document,) = content.documents
    return document


def kinds(document: Document) -> list[tuple[str, str]]:
    """Return kind and text of each block."""
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def paths(document: Document) -> list[tuple[str, str]]:
    """Return the headings above each block that is no heading, joined, and its text."""
    return [
        (" > ".join(block.path), document.text[block.start : block.end])
        for block in document.blocks
        if block.kind not in ("heading", "question")
    ]


def places(document: Document) -> list[str]:
    return [block.place.fragment if block.place else "" for block in document.blocks]


def pdf(*pages: str, fonts: Mapping[str, str] | None = None, title: str = "") -> bytes:
    """Make a PDF: each page a content stream, or plain lines of text that begin with a letter.

    Args:
        pages: Content streams when they hold "BT", else lines.
        fonts: Names of fonts (F2, ...) with their base fonts; F1 is Helvetica.
        title: Stated in the file's properties.
    """
    named = {"F1": "Helvetica", **(fonts or {})}
    kids = " ".join(f"{3 + len(named) + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    objects += [
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{base} /Encoding /WinAnsiEncoding >>".encode()
        for base in named.values()
    ]
    used = " ".join(f"/{name} {3 + n} 0 R" for n, name in enumerate(named))
    for n, page in enumerate(pages):
        lines = " ".join(f"({line}) Tj T*" for line in page.split("\n") if line)
        stream = page if "BT" in page else f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET"
        data = stream.encode("cp1252")
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {4 + len(named) + 2 * n} 0 "
            f"R /Resources << /Font << {used} >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(data), data),
        ]
    objects.append(f"<< /Title ({title}) >>".encode())
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    size = len(objects)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (size + 1, size))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def shown(*lines: tuple[float, float, float, str], font: str = "F1") -> str:
    """Return a content stream of lines: x, y, size and text each, "F2:" before it for its font."""
    parts = []
    for x, y, size, text in lines:
        used = font
        if text.startswith("F2:"):
            used, text = "F2", text[3:]  # noqa: PLW2901
        parts.append(f"BT /{used} {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET")
    return "\n".join(parts)


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def replaced(data: bytes, name: str, old: str, new: str) -> bytes:
    """Return an archive with words of one part replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename == name:
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            target.writestr(info, content)
    return out.getvalue()


def msg(
    texts: Mapping[int, str],
    *,
    attachments: Sequence[tuple[str, bytes]] = (),
    narrow: str | None = None,
) -> bytes:
    """Make a mail of Outlook: properties by number, as UTF-16 or in a narrow encoding."""
    kind = "001E" if narrow else "001F"
    root: dict[str, object] = {"__properties_version1.0": bytes(32)}
    for number, text in texts.items():
        root[f"__substg1.0_{number:04X}{kind}"] = text.encode(narrow or "utf-16-le")
    for i, (name, data) in enumerate(attachments):
        root[f"__attach_version1.0_#{i:08X}"] = {
            "__properties_version1.0": bytes(8),
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            "__substg1.0_37010102": data,
        }
    return compound_file(root)


def compound_file(root: Mapping[str, object]) -> bytes:  # noqa: PLR0915
    """Write an OLE compound file of version 3 ([MS-CFB]); small streams go to the mini stream."""
    entries: list[list[object]] = [["Root Entry", 5, b"", -1]]  # name, type, data, child

    def add(folder: Mapping[str, object]) -> int:
        """Add a folder's entries as a list that only goes to the right; return the first."""
        first = previous = -1
        for name in sorted(folder, key=lambda name: (len(name), name.upper())):
            item = folder[name]
            index = len(entries)
            is_stream = isinstance(item, bytes)
            entries.append([name, 2 if is_stream else 1, item if is_stream else b"", -1, -1])
            if isinstance(item, Mapping):
                entries[index][3] = add(item)
            if previous < 0:
                first = index
            else:
                entries[previous][4] = index
            previous = index
        return first

    entries[0].append(-1)
    entries[0][3] = add(root)
    fat: list[int] = []
    body = bytearray()

    def store(data: bytes) -> int:
        if not data:
            return -2
        start = len(fat)
        count = -(-len(data) // SECTOR)
        fat.extend([*range(start + 1, start + count), -2])
        body.extend(data.ljust(count * SECTOR, b"\0"))
        return start

    mini = bytearray()
    mini_fat: list[int] = []
    starts: dict[int, int] = {}
    for index, entry in enumerate(entries):
        data = entry[2]
        assert isinstance(data, bytes)
        if entry[1] == 2 and 0 < len(data) < 4096:
            start = len(mini_fat)
            count = -(-len(data) // 64)
            mini_fat.extend([*range(start + 1, start + count), -2])
            mini.extend(data.ljust(count * 64, b"\0"))
            starts[index] = start
        else:
            starts[index] = store(data)
    starts[0] = store(bytes(mini))
    mini_fat_data = struct.pack(f"<{len(mini_fat)}i", *mini_fat)
    mini_fat_data += b"\xff" * (-len(mini_fat_data) % SECTOR)
    mini_fat_start = store(mini_fat_data)
    directory = bytearray()
    for index, (name, kind, data, child, right) in enumerate(entries):
        assert isinstance(name, str)
        assert isinstance(data, bytes)
        wide = name.encode("utf-16-le")
        size = len(mini) if index == 0 else len(data)
        directory += wide.ljust(64, b"\0") + struct.pack(
            "<HBBiii16sIQQiQ", len(wide) + 2, kind, 1, -1, right, child, bytes(16), 0, 0, 0,
            starts[index], size,
        )  # fmt: skip
    directory += bytes(-len(directory) % SECTOR)
    directory_start = store(bytes(directory))
    fat_sectors = -(-(len(fat) + 1) // 128)
    first_fat = len(fat)
    fat += [-3] * fat_sectors
    fat += [-1] * (-len(fat) % 128)
    body += struct.pack(f"<{len(fat)}i", *fat)
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE,
        9, 6, bytes(6), 0, fat_sectors, directory_start, 0, 4096, mini_fat_start & 0xFFFFFFFF,
        len(mini_fat_data) // SECTOR, 0xFFFFFFFE, 0, 0,
    )[:68]  # fmt: skip
    header += struct.pack("<II", 0xFFFFFFFE, 0)
    difat = [first_fat + i for i in range(fat_sectors)] + [-1] * (109 - fat_sectors)
    return header + struct.pack("<109i", *difat) + bytes(body)
