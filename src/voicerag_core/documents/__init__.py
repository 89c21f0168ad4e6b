"""Files to texts: find the files that can be read, and read each as one replaceable unit.

`find_files` walks folders, `read_file` gives a file's texts with the digest that tells whether it
has changed, and `file_digest` gives that digest alone. A broken file raises `DocumentError`, so a
caller reports it and goes on with the next; what of a file was not read comes as notices.
`voicerag_core.index_files` does all of that.

Each kind of file has a reader that gives `elements`: headings, paragraphs, items, tables, terms,
code, fields and notes, whatever the format. `layout` makes one text with blocks of them.
"""

from voicerag_core.documents.finding import (
    RECORDING_SUFFIXES,
    SUFFIXES,
    FoundFiles,
    find_files,
    source_of,
)
from voicerag_core.documents.reading import (
    MAX_BYTES,
    FileContent,
    OpenFile,
    as_regular,
    file_digest,
    open_regular,
    read_file,
)

__all__ = [
    "MAX_BYTES",
    "RECORDING_SUFFIXES",
    "SUFFIXES",
    "FileContent",
    "FoundFiles",
    "OpenFile",
    "as_regular",
    "file_digest",
    "find_files",
    "open_regular",
    "read_file",
    "source_of",
]
