"""Pictures of clouds and meshes, and how objects show themselves as text and HTML."""
