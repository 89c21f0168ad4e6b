"""The adapters of LlamaIndex and LangChain compared with the frameworks' stores."""
