"""Element-wise operators."""
import math

import numpy as np
from case import case, random

erf = np.vectorize(math.erf)
x = random(3, 5, low=-4, high=4)
bits = np.array([[0, 1, 255], [254, 7, 128]], np.uint8)

case("Gelu", "exact", opset=20, inputs=[x], outputs=[(x / 2 * (1 + erf(x / 2**0.5))).astype(np.float32)])
case("Gelu", "tanh", opset=20, inputs=[x], approximate="tanh",
     outputs=[(x / 2 * (1 + np.tanh((2 / np.pi)**0.5 * (x + 0.044715 * x**3)))).astype(np.float32)])
case("Gelu", "symbolic", opset=20, inputs=[x], dims={0: ["N", 5]}, outputs=[(x / 2 * (1 + erf(x / 2**0.5))).astype(np.float32)])
case("Gelu", "of_ints", opset=20, inputs=[bits], error="u8")
case("Mish", "", opset=18, inputs=[x], outputs=[x * np.tanh(np.log1p(np.exp(x)))])
case("Swish", "alpha", opset=24, inputs=[x], alpha=1.5, outputs=[x / (1 + np.exp(-1.5 * x))])
case("BitwiseAnd", "broadcast", opset=18, inputs=[bits, bits[:1]], outputs=[bits & bits[:1]])
case("BitwiseNot", "", opset=18, inputs=[bits.astype(np.int32)], outputs=[~bits.astype(np.int32)])
case("BitwiseOr", "broadcast", opset=18, inputs=[bits, bits[:1]], outputs=[bits | bits[:1]])
case("BitwiseXor", "with_constant", opset=18, inputs=[bits, np.uint8(85)], constants=[1], outputs=[bits ^ np.uint8(85)])
