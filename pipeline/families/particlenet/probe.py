"""The probe of a pretrained model of this family: that of `pipeline.probing.classes`."""

from pipeline.probing.classes import probe

__all__ = ["probe"]
