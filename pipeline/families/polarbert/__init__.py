"""PolarBERT: sensors of masked pulses, and the charge of the event, told from the other pulses."""
