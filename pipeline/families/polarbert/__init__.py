"""PolarBERT: sensors of masked pulses and the charge of the event."""
