"""The precisions of a training, and at what rates a device multiplies in them."""

from typing import Literal, get_args

# tf32 multiplies single-precision matrices with 10 bits of mantissa (NVIDIA, from A100 on); bf16
# computes in 8 bits, and keeps weights and the optimiser's states in single precision.
Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
