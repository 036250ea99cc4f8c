"""Track finding by clusters in a learned space."""
