"""Node-hours: what a job costs, the ledger that remembers it, and the guard that refuses it."""
