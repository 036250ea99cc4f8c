"""What the process imports and loads that ranks are forked from: it then costs no rank anything."""

import deepspeed  # noqa: F401
import zarr  # noqa: F401

import pipeline.data.loading
import pipeline.nn.systems
import pipeline.training.steps.loop  # noqa: F401
