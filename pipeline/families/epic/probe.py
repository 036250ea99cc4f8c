"""The probe of a pretrained model of this family: that of `pipeline.probing.flows`."""

from pipeline.probing.flows import probe

__all__ = ["probe"]
