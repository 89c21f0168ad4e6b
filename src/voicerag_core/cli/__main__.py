"""``python -m voicerag_core.cli``."""

from voicerag_core.cli import main

main()
