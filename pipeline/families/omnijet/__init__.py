"""OmniJet-alpha's backbone: the next token of a jet (Birk, Hallin, Kasieczka, arXiv:2403.05618)."""
