"""Texturing: what the photos show of the surface, which one paints what, and an atlas without seams."""
