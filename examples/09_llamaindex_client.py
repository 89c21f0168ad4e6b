"""Ask `voicerag serve` with LlamaIndex's class for OpenAI: python 09_llamaindex_client.py [URL].

It needs llama-index-llms-openai-like, in an environment of its own: its openai is older than 3.
"""

from __future__ import annotations

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

QUESTION = "Where does the Rhine rise?"


def main(url: str) -> None:
    model = OpenAILike(
        api_base=f"{url}/v1", api_key="none", model="voicerag", is_chat_model=True, max_tokens=200
    )
    print("answer  ", model.chat([ChatMessage(role="user", content=QUESTION)]).message.content)
    pieces = model.stream_chat([ChatMessage(role="user", content=QUESTION)])
    print("streamed", "".join(piece.delta or "" for piece in pieces))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8090")
