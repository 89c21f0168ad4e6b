"""Ask a running `voicerag serve` with LangChain's class for OpenAI: python 08_langchain_client.py.

It needs langchain-openai. The server is a chat model to LangChain: it fits wherever one is taken.
"""

from __future__ import annotations

import sys

from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

QUESTION = "Where does the Rhine rise?"


def main(url: str) -> None:
    model = ChatOpenAI(base_url=f"{url}/v1", api_key=SecretStr("none"), model="voicerag")
    answer = model.invoke(QUESTION)
    print("answer  ", answer.content)
    pieces = model.stream(QUESTION)
    print("streamed", "".join(str(piece.content) for piece in pieces))
    history = [HumanMessage(QUESTION), AIMessage(answer.content), HumanMessage("What is oxygen?")]
    print("next    ", model.invoke(history).content)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8090")
