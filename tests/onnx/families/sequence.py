"""Sequences and optional values."""
import numpy as np
from case import case, node, random

x, y = random(3, 2), random(3, 2, seed=1)

case("Optional", "of_tensor", opset=18, inputs=[x], outputs=[x, np.bool_(True)],
     nodes=[node("Optional", "x0", "o"), node("OptionalGetElement", "o", "y0"), node("OptionalHasElement", "o", "y1")])
case("Optional", "of_sequence", opset=15, inputs=[x, y], outputs=[np.concatenate([x, y])],
     nodes=[node("SequenceConstruct", "x0 x1", "s"), node("Optional", "s", "o"), node("OptionalGetElement", "o", "t"),
            node("ConcatFromSequence", "t", "y0", axis=0)])
