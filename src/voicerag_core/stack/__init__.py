"""The stacks: parts built from settings, database access, and the complete pipeline."""

from voicerag_core.stack.database import (
    embedded_folder,
    existing_table,
    late_store,
    list_collections,
    open_collection_to_tune,
    open_database,
    open_store,
    require_server,
)
from voicerag_core.stack.ears import ears_of
from voicerag_core.stack.glm_voice import glm_folder
from voicerag_core.stack.late import LateStore
from voicerag_core.stack.opening import OpenedVoiceRAG, open_voicerag
from voicerag_core.stack.parts import GivenParts, Parts, open_ears, open_parts, sonar_folder

__all__ = [
    "GivenParts",
    "LateStore",
    "OpenedVoiceRAG",
    "Parts",
    "ears_of",
    "embedded_folder",
    "existing_table",
    "glm_folder",
    "late_store",
    "list_collections",
    "open_collection_to_tune",
    "open_database",
    "open_ears",
    "open_parts",
    "open_store",
    "open_voicerag",
    "require_server",
    "sonar_folder",
]
