"""The small floats of ONNX, from their bit layouts: what every code is worth, and how numbers are rounded to them."""
import numpy as np
from case import Raw

# Exponent bits, mantissa bits, bias.
FORMATS = {
    "FLOAT16": (5, 10, 15), "BFLOAT16": (8, 7, 127), "FLOAT8E4M3FN": (4, 3, 7), "FLOAT8E4M3FNUZ": (4, 3, 8),
    "FLOAT8E5M2": (5, 2, 15), "FLOAT8E5M2FNUZ": (5, 2, 16), "FLOAT4E2M1": (2, 1, 1),
}
EIGHT = ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"]
INTS = {"INT2": (-2, 1), "UINT2": (0, 3), "INT4": (-8, 7), "UINT4": (0, 15)}


def table(name):
    """The values of all bit patterns, as f64."""
    if name == "FLOAT8E8M0":
        return np.append(2.0 ** (np.arange(255) - 127), np.nan)
    exponent_bits, mantissa_bits, bias = FORMATS[name]
    bits = np.arange(2 ** (1 + exponent_bits + mantissa_bits))
    mantissa, exponent = bits % 2**mantissa_bits, bits >> mantissa_bits & 2**exponent_bits - 1
    value = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias - mantissa_bits),
                     (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias))
    value = np.where(bits >> (exponent_bits + mantissa_bits), -value, value)
    magnitude = bits & 2 ** (exponent_bits + mantissa_bits) - 1
    if name in ("FLOAT16", "BFLOAT16", "FLOAT8E5M2"):
        value = np.where(exponent == 2**exponent_bits - 1, np.where(mantissa == 0, np.copysign(np.inf, value), np.nan), value)
    elif name.endswith("FNUZ"):
        value[len(bits) // 2] = np.nan
    elif name == "FLOAT8E4M3FN":
        value[magnitude == 127] = np.nan
    return value


def encode(name, values, saturate=True):
    """By the specification's tables: nearest, ties to even; the code of NaN is the first that is one."""
    values, codes = np.asarray(values, np.float64), table(name)
    half = len(codes) // 2
    finite = codes[:half][np.isfinite(codes[:half])]  # ascending, code by code
    top, step = finite[-1], finite[-1] - finite[-2]
    wide = np.append(finite, top + step)  # as if the format went on
    nan = int(np.flatnonzero(np.isnan(codes))[0]) if np.isnan(codes).any() else None
    out = []
    for x in values.reshape(-1):
        magnitude = abs(x)
        if np.isnan(x):
            out.append(len(finite) - 1 if nan is None else nan)
            continue
        if magnitude >= wide[-1]:
            code = len(finite)
        else:
            upper = int(np.searchsorted(wide, magnitude))
            lower = upper if wide[upper] == magnitude else upper - 1
            down, up = magnitude - wide[lower], wide[upper] - magnitude
            code = lower if down < up or (down == up and lower % 2 == 0) else upper
        if code >= len(finite):  # beyond the largest
            if name in ("FLOAT16", "BFLOAT16"):
                code = int(np.flatnonzero(np.isinf(codes))[0])
            elif saturate or nan is None:
                code = len(finite) - 1
            elif name == "FLOAT8E5M2":
                code = 0x7C
            else:
                out.append(nan)
                continue
        minus = np.signbit(x) and not (name.endswith("FNUZ") and code == 0)
        out.append(code + half * int(minus))
    return Raw(name, np.array(out).reshape(values.shape))


def encode_power(values, round, saturate):
    out = []
    for x in np.asarray(values, np.float64):
        fraction, exponent = np.frexp(x)  # x = fraction * 2^exponent, 1/2 <= fraction < 1
        power = exponent - 1 + int({"up": fraction > 0.5, "down": False, "nearest": fraction >= 0.75}[round])
        code = min(max(power + 127, 0), 254) if x > 0 and np.isfinite(x) else 0 if x == 0 else 254
        outside = not 2.0**-127 <= x <= 2.0**127
        out.append(255 if np.isnan(x) or (outside and not saturate) else code)
    return Raw("FLOAT8E8M0", np.array(out).reshape(np.shape(values)))


def all_codes(name):
    return Raw(name, np.arange(len(table(name))))
