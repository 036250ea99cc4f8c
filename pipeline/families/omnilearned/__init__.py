"""OmniLearned: classes of jets and a flow that generates them (Bhimji et al., arXiv:2510.24066)."""
