"""The Postgres store compared with those of LangChain and LlamaIndex."""
