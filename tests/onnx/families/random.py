"""Random numbers: those of SplitMix64, as docs/operators.md has them, and what does not depend on the generator."""
import numpy as np
from case import case, node, random


def uniform(seed, *shape, bits=24):
    """Element n is step n + 1 of SplitMix64, whose state begins as the mixed seed."""
    mask, golden_ratio = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    numbers = [mix(mix(seed + golden_ratio & mask) + n * golden_ratio & mask) >> 64 - bits for n in range(int(np.prod(shape)))]
    return np.reshape(numbers, shape) / 2.0**bits


u, v = uniform(7, 4, 5), uniform(7 ^ 1 << 62, 4, 5)
normal = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
x = random(4, 5, low=0, high=1)

case("RandomUniform", "", opset=22, shape=[4, 5], seed=7.0, low=-2.0, high=3.0, outputs=[(5 * u - 2).astype(np.float32)])
case("RandomUniform", "double", shape=[4, 5], seed=7.0, dtype=11, outputs=[uniform(7, 4, 5, bits=53)])
case("RandomUniform", "of_ints", shape=[4, 5], dtype=7, error="random numbers of i64")
case("RandomUniformLike", "", inputs=[x], dims={0: ["N", 5]}, seed=7.0, outputs=[u.astype(np.float32)])
case("RandomNormal", "", shape=[4, 5], seed=7.0, mean=1.0, scale=0.5, outputs=[(0.5 * normal + 1).astype(np.float32)])
case("RandomNormalLike", "", inputs=[x.astype(np.int32)], dims={0: ["N", "M"]}, dtype=1, seed=7.0, outputs=[normal.astype(np.float32)])
case("Bernoulli", "", inputs=[x], seed=7.0, outputs=[(u < x).astype(np.float32)])
case("Bernoulli", "certain", inputs=[np.float32([0, 1, 0, 1])], dtype=9, outputs=[np.array([False, True, False, True])])
case("Multinomial", "certain", inputs=[np.float32([[0, 0, 90], [90, 0, 0], [-90, 0, -90]])], sample_size=4, dtype=7,
     outputs=[np.repeat([[2], [0], [1]], 4, 1)])
case("Multinomial", "three_to_one", inputs=[np.log(np.float32([[1, 3]])), np.float32(20)],  # 0 or 1, on average 3/4
     nodes=[node("Multinomial", "x0", "t", sample_size=20000, seed=1.0, dtype=7), node("Cast", "t", "f", to=1), node("ReduceMean", "f", "m"),
            node("Mul", "m x1", "n"), node("Round", "n", "y0")], outputs=[np.float32([[15]])])
case("RandomNormal", "moments", inputs=[np.float32(10)],  # mean and deviation of many, to one digit
     nodes=[node("RandomNormal", "", "r", shape=[100, 1000], mean=3.0, scale=2.0), node("ReduceMean", "r", "m"), node("Sub", "r m", "c"),
            node("Mul", "c c", "s"), node("ReduceMean", "s", "v"), node("Sqrt", "v", "d"), node("Mul", "m x0", "m10"), node("Mul", "d x0", "d10"),
            node("Round", "m10", "y0"), node("Round", "d10", "y1")], outputs=[np.float32([[30]]), np.float32([[20]])])
case("RandomUniform", "seeds_differ", inputs=[np.float32(0)],  # without seeds no two nodes give the same
     nodes=[node("RandomUniform", "", "a", shape=[3]), node("RandomUniform", "", "b", shape=[3]), node("Equal", "a b", "e"), node("Cast", "e", "f", to=1),
            node("ReduceSum", "f", "s", keepdims=0), node("Add", "s x0", "y0")], outputs=[np.float32(0)])

# Dropout in training mode draws numpy's numbers.
kept = np.random.RandomState(3).uniform(0, 1, (4, 5)) >= 0.25
case("Dropout", "training", opset=13, inputs=[x, np.float32(0.25), np.bool_(True)], seed=3,
     outputs=[np.where(kept, x / 0.75, 0).astype(np.float32), kept])
case("Dropout", "training_constant", opset=22, inputs=[x, np.float32(0.25), np.bool_(True)], constants=[1, 2], seed=3,
     outputs=[np.where(kept, x / 0.75, 0).astype(np.float32), kept])
case("Dropout", "not_training", opset=13, inputs=[x, np.float32(0.25), np.bool_(False)], seed=3, outputs=[x, np.ones((4, 5), bool)])
case("Dropout", "mask_of_floats", opset=7, inputs=[x], outputs=[x, np.ones((4, 5), np.float32)])
case("Dropout", "symbolic", opset=13, inputs=[x, np.float32(1), np.bool_(True)], dims={0: ["N", 5]}, outputs=[np.zeros_like(x), np.zeros((4, 5), bool)])
