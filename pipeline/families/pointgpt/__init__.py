"""PointGPT-type: patches of points, predicted one after another."""
