"""FM4NPP: state-space layers over serialised space points (arXiv:2508.14087)."""
