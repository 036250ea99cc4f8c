"""A model of the user's, in one file that only the training programs load."""
