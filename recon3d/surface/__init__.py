"""Surfaces from oriented points: meshing, cleaning, simplification."""
