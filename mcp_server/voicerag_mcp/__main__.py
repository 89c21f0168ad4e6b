"""``python -m voicerag_mcp`` is ``voicerag-mcp``."""

import sys

from voicerag_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
