"""Element-wise operators of old opsets, and what newer ones say of special cases."""
import math

import numpy as np
from case import case, random

f32 = np.float32
x, vector, plane = random(2, 3, 4, 5), random(3, low=0.5), random(3, 4, low=0.5)
positive = np.abs(x) + f32(0.1)
arithmetic = dict(Add=np.add, Sub=np.subtract, Mul=np.multiply, Div=np.divide)
for opset in 1, 6:
    for name, function in arithmetic.items():
        case(name, "same", opset=opset, inputs=[x, positive], consumed_inputs=[0, 0], outputs=[function(x, positive)])
        case(name, "axis", opset=opset, inputs=[x, vector], broadcast=1, axis=1, outputs=[function(x, vector[:, None, None])])
        case(name, "axis_of_two", opset=opset, inputs=[x, plane], broadcast=1, axis=-3, outputs=[function(x, plane[..., None])])
        case(name, "suffix", opset=opset, inputs=[x, positive[0, 0]], broadcast=1, outputs=[function(x, positive[0, 0])])
        case(name, "scalar", opset=opset, inputs=[x, f32(2)], broadcast=1, outputs=[function(x, f32(2))])
case("Add", "no_line_up", opset=6, inputs=[x, plane], broadcast=1, axis=3, error="does not line up")
case("Pow", "axis", opset=1, inputs=[positive, vector], broadcast=1, axis=1, outputs=[positive**vector[:, None, None]])
for name, function in dict(And=np.logical_and, Or=np.logical_or, Xor=np.logical_xor).items():
    case(name, "axis", opset=1, inputs=[x > 0, vector > 0.7], broadcast=1, axis=1, outputs=[function(x > 0, (vector > 0.7)[:, None, None])])
for name, function in dict(Less=np.less, Greater=np.greater).items():
    case(name, "axis", opset=1, inputs=[x, vector], broadcast=1, axis=1, outputs=[function(x, vector[:, None, None])])
case("Equal", "axis", opset=1, inputs=[np.arange(6).reshape(2, 3) % 4, np.array([0, 3])], broadcast=1, axis=0,
     outputs=[np.arange(6).reshape(2, 3) % 4 == np.array([0, 3])[:, None]])
prelu = lambda slope: np.where(x < 0, x * slope, x)
case("PRelu", "by_channel", opset=1, inputs=[x, vector], consumed_inputs=[0, 0], outputs=[prelu(vector[:, None, None])])
case("PRelu", "shared", opset=6, inputs=[x, np.float32([0.25])], outputs=[prelu(f32(0.25))])
case("PRelu", "by_channel", opset=16, inputs=[x, vector.reshape(3, 1, 1)], outputs=[prelu(vector[:, None, None])])
for opset in 1, 6, 8, 13:
    case("Max", "three", opset=opset, inputs=[x, -x, x * x], outputs=[np.maximum(np.maximum(x, -x), x * x)])
    case("Min", "three", opset=opset, inputs=[x, -x, x * x], outputs=[np.minimum(np.minimum(x, -x), x * x)])
    case("Sum", "three", opset=opset, inputs=[x, x, x * x], outputs=[x + x + x * x])
    case("Mean", "three", opset=opset, inputs=[x, x, x * x], outputs=[(x + x + x * x) / 3])
    case("Mean", "one", opset=opset, inputs=[x], outputs=[x])
case("Max", "broadcast_nan", opset=8, inputs=[np.float32([[1, np.nan]]), np.float32([[np.nan], [2]])], outputs=[np.float32([[np.nan] * 2, [2, np.nan]])])
case("Sum", "broadcast", opset=8, inputs=[x, vector[:, None, None], plane[..., None]], dims={0: ["N", 3, "H", "W"]},
     outputs=[x + vector[:, None, None] + plane[..., None]])
for opset in 1, 6:
    case("Clip", "both", opset=opset, inputs=[x], min=-0.5, max=0.25, outputs=[x.clip(-0.5, 0.25)])
    case("Clip", "low", opset=opset, inputs=[x], min=-0.5, outputs=[np.maximum(x, f32(-0.5))])
    case("Clip", "none", opset=opset, inputs=[x], outputs=[x])
case("Clip", "crossed", opset=12, inputs=[x, f32(1), f32(-1)], outputs=[np.full_like(x, -1)])
case("Clip", "only_high_of_ints", opset=12, inputs=[np.arange(-3, 4, dtype=np.int8), None, np.int8(1)], outputs=[np.minimum(np.arange(-3, 4, dtype=np.int8), 1)])
case("Clip", "nan", opset=13, inputs=[np.float32([np.nan, 3]), f32(0), f32(1)], outputs=[np.float32([np.nan, 1])])
e = np.expm1(np.minimum(x, 0).astype(np.float64))
case("Selu", "first", opset=1, inputs=[x], outputs=[np.where(x > 0, x, 1.6732 * e).astype(f32) * f32(1.0507)])
case("Selu", "", opset=22, inputs=[x], outputs=[(np.where(x > 0, x, 1.67326319217681884765625 * e) * 1.05070102214813232421875).astype(f32)])
case("Elu", "", opset=22, inputs=[x], alpha=0.5, outputs=[np.where(x > 0, x, 0.5 * e).astype(f32)])
case("Celu", "", opset=12, inputs=[x], alpha=0.5, outputs=[np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0) / 0.5)).astype(f32)])
case("HardSigmoid", "", opset=1, inputs=[4 * x], outputs=[np.clip(0.2 * 4 * x + 0.5, 0, 1).astype(f32)])
case("ThresholdedRelu", "at_alpha", opset=22, inputs=[np.float32([1, 1.5, -2])], outputs=[np.float32([0, 1.5, 0])])
case("LeakyRelu", "", opset=1, inputs=[x], outputs=[np.where(x < 0, f32(0.01) * x, x)])
case("Softplus", "large", opset=22, inputs=[np.float32([-200, 0, 200])], outputs=[np.float32([0, math.log(2), 200])])
case("Shrink", "ints", opset=9, inputs=[np.arange(-3, 4, dtype=np.int32)], lambd=1.0, bias=1.0, outputs=[np.array([-2, -1, 0, 0, 0, 1, 2], np.int32)])
case("Shrink", "", opset=9, inputs=[x], lambd=0.3, bias=0.1, outputs=[np.where(x < f32(-0.3), x + f32(0.1), np.where(x > f32(0.3), x - f32(0.1), 0))])
odd = np.float32([-np.inf, np.inf, np.nan, 1])
for positive_too, negative_too in ((1, 1), (1, 0), (0, 1), (0, 0)):
    case("IsInf", f"{positive_too}{negative_too}", opset=20, inputs=[odd], detect_positive=positive_too, detect_negative=negative_too,
         outputs=[np.array([negative_too, positive_too, 0, 0], bool)])
case("Sign", "nan", opset=13, inputs=[np.float32([np.nan, -3, 0, 2])], outputs=[np.float32([np.nan, -1, 0, 1])])
case("Round", "halves", opset=22, inputs=[np.float32([0.5, 1.5, 2.5, -0.5, -1.5])], outputs=[np.float32([0, 2, 2, 0, -2])])
case("Div", "ints", opset=14, inputs=[np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)], outputs=[np.array([3, -3, -3, 3], np.int32)])
case("Div", "ints_by_zero", opset=14, compiled=True, inputs=[np.array([7, -2**31], np.int32), np.array([0, -1], np.int32)], outputs=[np.array([0, -2**31], np.int32)])
for fmod, results in (0, [1, 2, -2, -1]), (1, [1, -1, 1, -1]):
    case("Mod", f"ints_{fmod}", opset=13, inputs=[np.array([7, -7, 7, -7], np.int64), np.array([3, 3, -3, -3], np.int64)], fmod=fmod, outputs=[np.array(results)])
case("Mod", "floats", opset=13, inputs=[np.float32([5.5, -5.5]), np.float32([2, 2])], fmod=1, outputs=[np.float32([1.5, -1.5])])
case("Pow", "int_base_float_exponent", opset=15, inputs=[np.array([2, 3], np.int32), np.float32([0.5, 2])], outputs=[np.array([1, 9], np.int32)])
case("Pow", "float_base_int_exponent", opset=15, inputs=[np.float32([2, 3]), np.array([-1, 2])], outputs=[np.float32([0.5, 9])])
case("BitShift", "by_the_width", opset=11, inputs=[np.array([255, 255, 1], np.uint8), np.array([8, 7, 200], np.uint8)], direction="LEFT",
     outputs=[np.array([0, 128, 0], np.uint8)])
case("Hardmax", "legacy", opset=11, inputs=[x[0]], axis=1, outputs=[(np.arange(20) == x[0].reshape(3, 20).argmax(1)[:, None]).astype(f32).reshape(3, 4, 5)])
case("Concat", "default_axis", opset=1, inputs=[x, x], outputs=[np.concatenate([x, x], 1)])
