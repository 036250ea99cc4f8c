"""ParticleNet (Qu, Gouskos, arXiv:1902.08570): jets as point clouds, edge convolutions."""
