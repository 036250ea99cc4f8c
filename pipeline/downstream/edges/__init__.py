"""Track finding by edges of a graph."""
