"""The whole pipeline without model, database or download: python 00_fakes.py."""

from __future__ import annotations

import numpy as np

from voicerag_core import Audio, Document, VoiceRAG, chunk_document
from voicerag_core.testing import FakeEmbedder, FakeVoiceModel, InMemoryStore

TEXTS = {
    "rhine.txt": "The Rhine rises in the Swiss Alps. It flows into the North Sea.",
    "oxygen.txt": "Oxygen is a gas without colour. Carl Scheele was the first to make it.",
}


def main() -> None:
    # The fake embedder "understands" one recording; a real one understands speech.
    question = Audio(np.sin(np.arange(16_000, dtype=np.float32) / 9), sample_rate=16_000)
    embedder = FakeEmbedder(transcripts={question: "Where does the Rhine rise?"})

    rag = VoiceRAG(embedder, InMemoryStore(embedder.dim), FakeVoiceModel())
    for source, text in TEXTS.items():
        rag.index(chunk_document(Document(source, text)))

    found = rag.retrieve(question)  # the sound is searched with, no transcript is made
    for piece in rag.respond(question, found):
        for hit in piece.hits:
            print(f"found   {hit.score:.2f}  {hit.passage.source}")
        if piece.text:
            print(f"answer  {piece.text}")

    answer = rag.ask("Who was the first to make oxygen?")
    seconds = answer.audio.seconds if answer.audio else 0.0
    print(f"answer  {answer.text} ({seconds:.2f} s of sound)")


if __name__ == "__main__":
    main()
