"""A model of the user's own: one file, which only the training programs load."""
