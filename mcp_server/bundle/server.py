"""Entry point of the .mcpb bundle."""

import sys

from voicerag_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
