"""A downstream task that a test plants: which points are of hard particles."""
