"""Versions of the file format."""
import numpy as np
from case import case, random

x, b = random(2, 3), random(3)
for ir in range(3, 14):
    case("Add", f"ir_{ir}", opset=8 if ir < 4 else 13, ir=ir, inputs=[x, b], constants=[1], outputs=[x + b])
