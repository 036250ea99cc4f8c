"""Figures, event displays and scenes in space: what report and downstream tasks draw with."""
