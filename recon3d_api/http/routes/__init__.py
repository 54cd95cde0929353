"""The endpoints, by the first word of their paths."""
