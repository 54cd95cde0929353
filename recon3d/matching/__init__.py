"""Which images belong together, and where the world's up is."""
