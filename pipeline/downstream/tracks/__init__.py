"""Track finding by learned queries."""
