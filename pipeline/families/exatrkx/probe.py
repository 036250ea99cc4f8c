"""The probe of a pretrained model of this family: that of `pipeline.probing.graphs`."""

from pipeline.probing.graphs import probe

__all__ = ["probe"]
