"""Numbers that belong to an event, of any discipline: a set of points and what it is of."""
