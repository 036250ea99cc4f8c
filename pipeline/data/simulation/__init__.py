"""Sample events with their whole truth, in the schemas that experiments really use."""
