"""The steps of a training: batches, schedule, metrics, validation, checkpoints."""
