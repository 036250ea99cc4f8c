"""What a run hands on: weights with their card, an RO-Crate, Croissant."""
