"""Forms of files that keep less than f32: weights that lie on their steps come out as they were."""
import numpy as np

from models import dense
from table import case

for how, steps in (("uint8", 255), ("uint16", 65535)):
    k = np.random.default_rng(steps).integers(0, steps + 1, 12).reshape(4, 3)
    k[0, 0], k[1, 1] = 0, steps
    case(f"tfjs_{how}", dense("y", 4, 3), shape=(4,), versions=(2,), form=f"tfjs-{how}",
         weights={"y": [np.float32(k / steps * 3 - 1), np.float32([0.5, 0.5, 0.5])]})
case("tfjs_float16", dense("y", 4, 3), shape=(4,), versions=(2,), form="tfjs-float16",
     weights={"y": [np.float16(np.random.default_rng(1).standard_normal(s)).astype(np.float32) for s in ((4, 3), (3,))]})
