"""Operators from before ONNX 1.0."""
import numpy as np
from case import case, random

x, image = random(2, 5, low=-3, high=3), random(2, 3, 6, 5)
case("Affine", "", opset=1, inputs=[x], outputs=[x * 2 + 0.5], alpha=2.0, beta=0.5)
case("Scale", "", opset=1, inputs=[x], outputs=[x * 3], scale=3.0)
case("ScaledTanh", "", opset=1, inputs=[x], outputs=[1.5 * np.tanh(0.7 * x).astype(np.float32)], alpha=1.5, beta=0.7)
case("ParametricSoftplus", "", opset=1, inputs=[x], outputs=[(1.5 * np.log1p(np.exp(0.7 * x))).astype(np.float32)], alpha=1.5, beta=0.7)
case("ImageScaler", "", opset=1, inputs=[image], outputs=[image * 2 + np.float32([1, 2, 3]).reshape(3, 1, 1)], bias=[1.0, 2.0, 3.0], scale=2.0)
case("ImageScaler", "biases", opset=1, inputs=[image], bias=[1.0, 2.0], error="2 biases for f32[2,3,6,5]")
case("Crop", "", opset=1, inputs=[image], outputs=[image[:, :, 2:5, 1:5]], border=[1, 2, 0, 1])
case("Crop", "scale", opset=1, inputs=[image], outputs=[image[:, :, 2:5, 1:3]], border=[1, 2, 0, 0], scale=[3, 2])
case("Crop", "borders", opset=1, inputs=[image], border=[1, 2], error="2 borders")
case("Crop", "too_much", opset=1, inputs=[image], border=[1, 4, 0, 3], error="-1")
