"""Deep Sets of jets, particle flow networks (Komiske, Metodiev, Thaler, arXiv:1810.05165)."""
