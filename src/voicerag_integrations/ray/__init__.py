"""Index on a Ray cluster: `index_files(..., engine=)` with the engine of `ray_engine`.

The driver plans, removes and builds the index; each worker reads, embeds and writes documents with
its own models and its own connection. A worker that is lost with its machine is replaced, and its
documents are done again, which changes nothing where they were written already.
"""

from voicerag_integrations.ray.engine import ray_engine

__all__ = ["ray_engine"]
