"""What compares elements with each other."""
import numpy as np
from case import bf16, case

x = np.array([[5, 1, 5, -2], [0, np.nan, 3, 3]], np.float32)
wide = np.array([1, 2**64 - 1, 2**63, 1], np.uint64)
i64 = lambda values: np.array(values, np.int64)

case("TopK", "attribute", opset=1, inputs=[x], k=2, outputs=[np.array([[5, 5], [np.nan, 3]], np.float32), i64([[0, 2], [1, 2]])])
case("TopK", "first_version_without_k", opset=1, inputs=[x], error="size -1 of axis 0 in k is negative")
case("TopK", "constant", opset=10, inputs=[x, i64([3])], constants=[1], axis=-1,
     outputs=[np.array([[5, 5, 1], [np.nan, 3, 3]], np.float32), i64([[0, 2, 1], [1, 2, 3]])])
case("TopK", "smallest_in_any_order", opset=11, inputs=[x, i64([2])], constants=[1], largest=0, sorted=0,
     outputs=[np.array([[-2, 1], [0, 3]], np.float32), i64([[3, 1], [0, 2]])])
case("TopK", "symbolic", opset=11, inputs=[x, i64([1])], constants=[1], axis=0, dims={0: ["N", "M"]},
     outputs=[x[[0, 1, 0, 1], range(4)][None], i64([[0, 1, 0, 1]])])
case("TopK", "indices_only", opset=11, inputs=[x, i64([1])], constants=[1], outputs=[None, i64([[0], [1]])])
case("TopK", "unsigned", opset=24, inputs=[wide, i64([3])], constants=[1], outputs=[wide[[1, 2, 0]], i64([1, 2, 0])])
case("TopK", "bf16", opset=24, inputs=[bf16([1, -3, 2]), i64([2])], constants=[1], outputs=[bf16([2, 1]), i64([2, 0])])
case("TopK", "too_many", opset=11, inputs=[x, i64([5])], constants=[1], error="k is 5, more than axis 1")
