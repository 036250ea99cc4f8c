"""A signal that nobody labelled, found by telling two mixed samples apart."""
