"""The MCP server under load."""
