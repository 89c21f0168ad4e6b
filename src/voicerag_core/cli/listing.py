"""``voicerag list`` and ``voicerag remove``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from voicerag_core.cli.command import GlobalOptions
from voicerag_core.cli.database import described, none_yet, reached
from voicerag_core.cli.output import counted, show_json
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import StoreError

if TYPE_CHECKING:
    from voicerag_core.store import DocumentInfo

__all__ = ["list_content", "remove"]

_MOST_NAMES = 5

Match = Annotated[
    str | None,
    typer.Option(
        "--match", metavar="PATTERN", show_default=False,
        help="Only documents whose name is like this: * and ? stand for other characters.",
    ),
]  # fmt: skip


def list_content(
    given: GlobalOptions,
    *,
    documents: Annotated[
        bool, typer.Option("--documents", "-d", help="The documents of the collection, too.")
    ] = False,
    match: Match = None,
    json_output: JsonOutput = False,
) -> None:
    """List the collections of the tenant, or that of --collection, with their counts and models.

    With --documents, or --match, list the documents of --collection (or "default"), too.
    """
    from voicerag_core.store import known_collection, list_collections, list_documents

    settings = given.settings()
    found: Sequence[DocumentInfo] = ()
    wanted = documents or match is not None
    with reached(settings) as dsn:
        if dsn is None:
            if json_output:
                show_json({"tenant": settings.tenant, "collections": []})
            else:
                typer.echo(none_yet(settings))
            return
        if given.collection is None:
            collections = list_collections(dsn, tenant=settings.tenant)
        else:
            collections = (known_collection(dsn, given.collection, tenant=settings.tenant),)
        if wanted:
            found = [
                document
                for document in list_documents(
                    dsn, collection=settings.collection, tenant=settings.tenant
                )
                if match is None or fnmatchcase(document.source, match)
            ]
    if json_output:
        value: dict[str, object] = {"tenant": settings.tenant}
        value["collections"] = [asdict(collection) for collection in collections]
        if wanted:
            value["collection"] = settings.collection
            value["documents"] = [
                {**asdict(one), "updated_at": one.updated_at.isoformat()} for one in found
            ]
        show_json(value)
        return
    for collection in collections:
        typer.echo(described(collection))
    if not collections:
        typer.echo(f"no collections of tenant {settings.tenant}")
    for document in found:
        size = counted(document.passages, "passage")
        typer.echo(f"  {document.updated_at:%Y-%m-%d %H:%M}  {size:>16}  {document.source}")


def remove(
    given: GlobalOptions,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DOCUMENTS...",
            show_default=False,
            help="Names as `voicerag list --documents` shows them, files, folders, or patterns "
            "with * and ?.",
        ),
    ] = None,
    whole_collection: Annotated[
        bool, typer.Option("--whole-collection", help="Everything in the collection.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove documents from a collection, or a whole collection.

    The collection is that of --collection, or "default". A folder stands for the documents below
    it, whether or not it is still there. Asks for confirmation. Files stay where they are: indexing
    them again brings them back.
    """
    from voicerag_core.store import known_collection, list_documents, open_collection, reset

    if bool(names) == whole_collection:
        raise typer.BadParameter("give the documents, or --whole-collection")
    settings = given.settings()
    name = settings.collection
    with reached(settings) as dsn:
        if dsn is None:
            raise StoreError(f"there is nothing to remove: {none_yet(settings)}")
        if whole_collection:
            known = known_collection(dsn, name, tenant=settings.tenant)
            what = f"the collection {name!r} with {counted(known.documents, 'document')}"
            _confirmed(f"{what} and {counted(known.passages, 'passage')}", yes=yes)
            gone = reset(dsn, collection=name, tenant=settings.tenant)
        else:
            listed = list_documents(dsn, collection=name, tenant=settings.tenant)
            known_names = {document.source: document.passages for document in listed}
            chosen = sorted(_chosen(names or (), known_names))
            passages = counted(sum(known_names[source] for source in chosen), "passage")
            what = _named(chosen)
            _confirmed(f"{what} ({passages}) from the collection {name!r}", yes=yes)
            with open_collection(dsn, name, tenant=settings.tenant) as store:
                gone = store.remove_documents(chosen)
    typer.echo(f"removed: {what}, {counted(gone, 'passage')}")


def _confirmed(what: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(f"remove {what}?", abort=True, err=True)


def _chosen(names: Sequence[str], known: Mapping[str, int]) -> set[str]:
    """Return the documents that are meant.

    Raises:
        StoreError: A name means none; all are looked at first.
    """
    from voicerag_core.documents import source_of

    chosen: set[str] = set()
    missing = []
    for name in names:
        path = source_of(name)
        meant = {source for source in (name, path) if source in known} or {
            source
            for source in known
            if source.startswith(path.rstrip("/") + "/")
            or (set("*?[") & set(name) and (fnmatchcase(source, name) or fnmatchcase(source, path)))
        }
        if not meant:
            missing.append(name)
        chosen |= meant
    if missing:
        raise StoreError(f"nothing was removed: {'; '.join(_unknown(missing, known))}")
    return chosen


def _unknown(missing: Sequence[str], known: Mapping[str, int]) -> Iterator[str]:
    """Say of each name that means no document which one is near."""
    for name in missing[:_MOST_NAMES]:
        tails = {source.rsplit("/", 1)[-1]: source for source in known}
        near = difflib.get_close_matches(name.rsplit("/", 1)[-1], tails, n=1)
        hint = f", the nearest is {tails[near[0]]!r}" if near else ""
        yield f"there is no document {name!r}{hint}"
    yield "`voicerag list --documents` lists them"


def _named(chosen: Sequence[str]) -> str:
    shown = ", ".join(chosen[:_MOST_NAMES])
    more = f" and {len(chosen) - _MOST_NAMES} more" if len(chosen) > _MOST_NAMES else ""
    return f"{counted(len(chosen), 'document')}: {shown}{more}"
