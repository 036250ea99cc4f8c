"""What is done to events once, when they are staged: coordinates, order, neighbours."""
