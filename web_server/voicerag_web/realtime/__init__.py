"""The Realtime protocol over a WebSocket: a spoken conversation with the documents."""
