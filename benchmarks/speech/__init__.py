"""Speech recognition, retrieval, reading and speech synthesis of the local stack."""
