"""Determinants, inverses, distances, and triangles and padding of com.microsoft."""
import numpy as np
from case import case, random

f32 = np.float32
square, stack, points = random(4, 4), random(2, 3, 5, 5), random(5, 3)
a, b = random(4, 3), random(6, 3)
distances = ((a[:, None].astype(np.float64) - b)**2).sum(-1)

case("Det", "", opset=11, inputs=[square], outputs=[np.linalg.det(square)])
case("Det", "stack", opset=22, inputs=[stack], outputs=[np.linalg.det(stack)])
case("Det", "symbolic", opset=22, inputs=[stack], dims={0: ["N", 3, 5, 5]}, outputs=[np.linalg.det(stack)])
case("Det", "not_square", opset=11, inputs=[points], error="must be one constant size")
case("com.microsoft.Inverse", "", inputs=[stack], outputs=[np.linalg.inv(stack.astype(np.float64)).astype(f32)])
case("com.microsoft.CDist", "squared", inputs=[a, b], outputs=[distances.astype(f32)], metric="sqeuclidean")
case("com.microsoft.CDist", "euclidean", inputs=[a, b], outputs=[np.sqrt(distances).astype(f32)], metric="euclidean")
case("com.microsoft.CDist", "default", inputs=[a, b], outputs=[distances.astype(f32)])
case("com.microsoft.CDist", "cosine", inputs=[a, b], metric="cosine", error="metric 'cosine'")
case("com.microsoft.Trilu", "lower", inputs=[stack, np.int64(-1)], constants=[1], outputs=[np.tril(stack, -1)], upper=0)
case("com.microsoft.Trilu", "upper", inputs=[stack], outputs=[np.triu(stack)])
case("com.microsoft.Pad", "", inputs=[a, np.array([1, 0, 2, 1]), f32([3])], constants=[1, 2], outputs=[np.pad(a, ((1, 2), (0, 1)), constant_values=3)])
case("com.microsoft.Pad", "reflect", inputs=[a, np.array([1, 0, 2, 1])], constants=[1], outputs=[np.pad(a, ((1, 2), (0, 1)), "reflect")], mode="reflect")
