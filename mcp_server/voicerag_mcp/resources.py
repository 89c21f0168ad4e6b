"""Clips and passages as resources, the completion of their names, and the prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer, ResourceSecurity
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field

from voicerag_core import VoiceRAGError
from voicerag_mcp.errors import resource_errors
from voicerag_mcp.service import Service

__all__ = ["Resources"]

CLIP = "voicerag://clip/{id}"
SOURCE = "voicerag://source/{id}{?collection}"

_MOST_COMPLETIONS = 100


class Resources:
    """The resources of the server, read by URI.

    Args:
        service: Holds clips and passages.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, server: MCPServer[None]) -> None:
        """Add templates, completion and prompt to a server."""
        server.resource(
            CLIP,
            name="clip",
            title="A clip of sound",
            description="An uploaded question or a spoken answer, kept temporarily.",
            mime_type="audio/wav",
        )(self.clip)
        server.resource(
            SOURCE,
            name="source",
            title="A passage with its document",
            description="A passage that a search found, with its surroundings in the document.",
            mime_type="application/json",
            security=ResourceSecurity(exempt_params={"id"}),  # a key, never part of a path
        )(self.source)
        server.completion()(self.complete)  # type: ignore[no-untyped-call]
        server.prompt(title="Ask my documents by voice")(ask_my_documents)

    async def clip(self, id: str) -> bytes:  # noqa: A002 - named by the template
        """Return the sound of a clip."""
        with resource_errors():
            return self._service.serving.clips.get(self._service.caller.tenant, id).wav

    async def source(
        self,
        ctx: Context[None, object],
        id: str,  # noqa: A002 - named by the template
        collection: str | None = None,
    ) -> str:
        """Return a passage and its surroundings in the document."""
        asking = self._service.serving.asking
        with resource_errors():
            found = await self._service.run(
                ctx,
                lambda caller, job: asking.passage(job, caller.tenant, id, collection=collection),
            )
        passage = found.passage
        return json.dumps(
            {
                "id": passage.id,
                "title": passage.title,
                "source": passage.source,
                "text": passage.text,
                "metadata": dict(passage.metadata),
                "document": [{"id": one.id, "text": one.text} for one in found.document],
            },
            ensure_ascii=False,
            indent=1,
        )

    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        """Complete ids of clips and of recently shown passages, and names of collections."""
        del context
        serving, tenant = self._service.serving, self._service.caller.tenant
        uri = ref.uri if isinstance(ref, ResourceTemplateReference) else None
        if argument.name == "collection":
            try:
                known = await serving.workers.run(
                    lambda _: serving.tenants.collections(tenant), tenant=tenant
                )
            except VoiceRAGError:
                known = ()
            names = [one.name for one in known]
        elif uri == SOURCE and argument.name == "id":
            names = self._service.recent(tenant)
        elif argument.name == "clip" or (uri == CLIP and argument.name == "id"):
            names = serving.clips.ids(tenant)
        else:
            return None
        return _completion(names, argument.value)


def ask_my_documents(
    question: Annotated[str, Field(description="The question in words, or empty")] = "",
    clip: Annotated[str, Field(description="Id of an uploaded clip with the question")] = "",
    collection: Annotated[str, Field(description="Collection to ask; empty: the default")] = "",
) -> str:
    """Ask the indexed documents a typed or recorded question, and get a spoken, cited answer."""
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


def _completion(names: Sequence[str], begun: str) -> Completion:
    fitting = [name for name in names if name.startswith(begun)]
    return Completion(
        values=fitting[:_MOST_COMPLETIONS],
        total=len(fitting),
        has_more=len(fitting) > _MOST_COMPLETIONS,
    )
