"""Operations for which torch has no translation to ONNX, or one that ONNX Runtime does not compute.

ONNX Runtime has neither arctangent nor hyperbolic sine in double precision. The arctangent is taken
in single precision and corrected once: with a the angle so found, sin(φ - a) = (y cos a - x sin a)
/ r, which is φ - a to the third power of its rounding.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

TINY = 1e-30  # in place of a zero that is divided by


def translations() -> Mapping[Any, Callable[..., Any]]:
    """Return the graph of each operation, as `torch.onnx.export` takes them.

    Raises:
        ImportError: onnxscript is not installed.
    """
    from onnx import TensorProto
    from onnxscript import opset18

    op: Any = opset18  # whose own types leave no number but one

    def constant(value: float, like: Any) -> Any:
        return op.CastLike(op.Constant(value_float=value), like)

    def hypot(x: Any, y: Any) -> Any:
        return op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))

    def sinh(x: Any) -> Any:
        return op.Mul(op.Sub(op.Exp(x), op.Exp(op.Neg(x))), constant(0.5, x))

    def cdist(one: Any, other: Any, _p: float, _mode: int) -> Any:
        difference = op.Sub(op.Unsqueeze(one, [-2]), op.Unsqueeze(other, [-3]))
        return op.Sqrt(op.ReduceSum(op.Mul(difference, difference), [-1], keepdims=0))

    def atan2(y: Any, x: Any) -> Any:
        up, along = (op.Cast(each, to=TensorProto.FLOAT) for each in (y, x))
        zero, pi = op.Constant(value_float=0.0), op.Constant(value_float=math.pi)
        steep = op.Atan(op.Div(op.Abs(up), op.Max(op.Abs(along), op.Constant(value_float=TINY))))
        steep = op.Where(op.Less(along, zero), op.Sub(pi, steep), steep)
        angle = op.CastLike(op.Where(op.Less(up, zero), op.Neg(steep), steep), y)
        missing = op.Sub(op.Mul(y, op.Cos(angle)), op.Mul(x, op.Sin(angle)))
        return op.Add(angle, op.Div(missing, op.Max(hypot(x, y), constant(TINY, y))))

    return {
        torch.ops.prims.hypot.default: hypot,
        torch.ops.aten.sinh.default: sinh,
        torch.ops.aten._cdist_forward.default: cdist,  # noqa: SLF001 - its only name
        torch.ops.aten.atan2.default: atan2,
    }
