"""EPiC-FM: a flow on sets of points, without attention."""
