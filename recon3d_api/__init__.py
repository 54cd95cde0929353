"""The REST and WebSocket service of recon3d: accounts, projects, files and reconstruction jobs.

``recon3d-api`` runs it; ``recon3d_api.client.Client`` talks to it.
See docs/reference/rest-api.md.
"""
