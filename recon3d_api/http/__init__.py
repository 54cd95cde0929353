"""HTTP and WebSocket: routes, schemas, limits, uploads and downloads."""
