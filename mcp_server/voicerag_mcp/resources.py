"""Clips and passages as resources, the completion of their names, and the prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer, ResourceSecurity
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field

from voicerag_core import AudioError, ConfigError, Passage
from voicerag_core.filters import Eq
from voicerag_mcp.service import Service, told
from voicerag_mcp.work import Job

__all__ = ["Resources"]

CLIP = "voicerag://clip/{id}"
SOURCE = "voicerag://source/{id}{?collection}"

_MOST_COMPLETIONS = 100
_MOST_NEIGHBOURS = 40
_MOST_CHARS = 40_000


class Resources:
    """What can be read by URI.

    Args:
        service: What it is read from.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, server: MCPServer[None]) -> None:
        """Add templates, completion and prompt to a server."""
        server.resource(
            CLIP,
            name="clip",
            title="A clip of sound",
            description="An uploaded question or a spoken answer; it is kept for a while.",
            mime_type="audio/wav",
        )(self.clip)
        server.resource(
            SOURCE,
            name="source",
            title="A passage with its document",
            description="A passage that a search found, and its document around it.",
            mime_type="application/json",
            security=ResourceSecurity(exempt_params={"id"}),  # a key, never part of a path
        )(self.source)
        server.completion()(self.complete)  # type: ignore[no-untyped-call]
        server.prompt(title="Ask my documents by voice")(ask_my_documents)

    async def clip(self, id: str) -> bytes:  # noqa: A002 - named by the template
        """Return the sound of a clip."""
        try:
            return self._service.clips.get(self._service.tenant, id).wav
        except AudioError as error:
            raise ResourceNotFoundError(str(error)) from error

    async def source(
        self,
        ctx: Context[None, object],
        id: str,  # noqa: A002 - named by the template
        collection: str | None = None,
    ) -> str:
        """Return a passage and what its document says around it."""
        tenant = self._service.tenant

        def work(job: Job) -> str | None:
            return self._described(job, tenant, id, collection)

        try:
            with told():
                found = await self._service.run(ctx, work)
        except ToolError as error:
            raise ResourceError(str(error)) from error
        if found is None:
            raise ResourceNotFoundError(f"there is no passage {id[:200]!r}")
        return found

    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        """Complete ids of clips and of passages shown lately, and names of collections."""
        del context
        service, tenant = self._service, self._service.tenant
        uri = ref.uri if isinstance(ref, ResourceTemplateReference) else None
        if argument.name == "collection":
            try:
                with told():
                    names = await service.workers.run(
                        lambda _: [one.name for one in service.knowledge.collections(tenant)]
                    )
            except ToolError:
                names = []
        elif uri == SOURCE and argument.name == "id":
            names = service.recent(tenant)
        elif argument.name == "clip" or (uri == CLIP and argument.name == "id"):
            names = service.clips.ids(tenant)
        else:
            return None
        return _completion(names, argument.value)

    def _described(
        self, job: Job, tenant: str, passage_id: str, collection: str | None
    ) -> str | None:
        with self._service.knowledge.rag(job, tenant, collection) as rag:
            if "\0" in passage_id:
                raise ConfigError("the id of a passage holds no NUL character")
            passages = rag.store.get([passage_id])
            if not passages:
                return None
            (passage,) = passages
            document = [passage]
            if passage.source:
                found = rag.store.search(
                    rag.embedder.embed_texts([passage.text])[0],
                    limit=_MOST_NEIGHBOURS,
                    where=Eq("source", passage.source),
                )
                document = sorted((hit.passage for hit in found), key=_position)
        return json.dumps(
            {
                "id": passage.id,
                "title": passage.title,
                "source": passage.source,
                "text": passage.text,
                "metadata": dict(passage.metadata),
                "document": _around(passage, document),
            },
            ensure_ascii=False,
            indent=1,
        )


def ask_my_documents(
    question: Annotated[str, Field(description="The question in words, or empty")] = "",
    clip: Annotated[str, Field(description="Id of an uploaded clip with the question")] = "",
    collection: Annotated[str, Field(description="Collection to ask; empty: the default")] = "",
) -> str:
    """Ask the indexed documents a typed or recorded question, and get a cited, spoken answer."""
    given = {"text": question, "clip": clip, "collection": collection}
    call = ", ".join(f"{name}={json.dumps(value)}" for name, value in given.items() if value)
    if not question and not clip:
        call = "text=<my question>" + (f", {call}" if call else "")
        ask = "Ask me for my question first. "
    else:
        ask = ""
    return (
        f"{ask}Call voice_ask({call}) and give me its answer with its sources, each with its "
        "title, and the link to the spoken answer. If it says that the documents do not answer, "
        "say so and add nothing from memory. To read more of a source, read its resource."
    )


def _around(passage: Passage, document: Sequence[Passage]) -> list[dict[str, str]]:
    """Return the passages of a document, as many around the one as there is room for."""
    ids = [one.id for one in document]
    middle = ids.index(passage.id) if passage.id in ids else 0
    chosen = {}
    room = _MOST_CHARS
    for index in sorted(range(len(document)), key=lambda i: abs(i - middle)):
        room -= len(document[index].text)
        if room < 0:
            break
        chosen[index] = {"id": document[index].id, "text": document[index].text}
    return [chosen[index] for index in sorted(chosen)]


def _position(passage: Passage) -> float:
    place = passage.metadata.get("position")
    return float(place) if isinstance(place, int | float) else 0.0


def _completion(names: Sequence[str], begun: str) -> Completion:
    fitting = [name for name in names if name.startswith(begun)]
    return Completion(
        values=fitting[:_MOST_COMPLETIONS],
        total=len(fitting),
        has_more=len(fitting) > _MOST_COMPLETIONS,
    )
