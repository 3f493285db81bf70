"""Cast and CastLike between all element types, by tables made from the formats' bit layouts."""
import numpy as np
from case import Raw, case, node
from formats import EIGHT, INTS, all_codes, encode, encode_power, table

NUMBER = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "INT32": 6, "INT64": 7, "BOOL": 9, "FLOAT16": 10, "DOUBLE": 11, "BFLOAT16": 16,
          "FLOAT8E4M3FN": 17, "FLOAT8E4M3FNUZ": 18, "FLOAT8E5M2": 19, "FLOAT8E5M2FNUZ": 20, "UINT4": 21, "INT4": 22,
          "FLOAT4E2M1": 23, "FLOAT8E8M0": 24, "UINT2": 25, "INT2": 26}
SMALL = EIGHT + ["FLOAT4E2M1", "FLOAT8E8M0"]


def cast(name, x, y, to, opset=25, **attributes):
    case("Cast", name, opset=opset, inputs=[x], outputs=[y], to=NUMBER[to], **attributes)


# Every code of every small float, as f32, f64 and f16, from an input and from an initializer.
for name in SMALL:
    codes, values = all_codes(name), table(name)
    cast(f"{name}_to_FLOAT", codes, values.astype(np.float32), "FLOAT")
    cast(f"{name}_to_DOUBLE", codes, values, "DOUBLE")
    with np.errstate(over="ignore"):
        cast(f"{name}_to_FLOAT16", codes, values.astype(np.float16), "FLOAT16")
    cast(f"{name}_to_BOOL", codes, values != 0, "BOOL")
    cast(f"{name}_to_itself", codes, codes, name)
    case("Cast", f"{name}_initializer", opset=25, inputs=[codes], constants=[0], outputs=[values.astype(np.float32)], to=1)
    whole = np.where(np.isnan(values), 0, np.clip(np.trunc(values), -2**31, 2**31 - 1))
    cast(f"{name}_to_INT32", codes, whole.astype(np.int32), "INT32")
    for other in EIGHT + ["FLOAT4E2M1", "BFLOAT16"]:
        if other != name:
            cast(f"{name}_to_{other}", codes, encode(other, values), other)

# Floats to small floats: all of the format's numbers, the middles between them and their neighbours, and what lies beyond.
for name in EIGHT + ["FLOAT4E2M1"]:
    finite = np.unique(table(name)[np.isfinite(table(name))])
    middles = (finite[1:] + finite[:-1]) / 2
    last = finite[-1] + (finite[-1] - finite[-2]) / 2  # where rounding starts to leave the format
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-30, -1e-30, 1e30, -1e30, last, -last])
    points = np.concatenate([finite, middles, special])
    near = np.concatenate([points, np.nextafter(points.astype(np.float32), np.float32(np.inf)),
                           np.nextafter(points.astype(np.float32), np.float32(-np.inf))]).astype(np.float32)
    for saturate in [1, 0] if name != "FLOAT4E2M1" else [1]:
        suffix = f"{name}_saturate_{saturate}"
        cast(f"FLOAT_to_{suffix}", near, encode(name, near, saturate), name, saturate=saturate)
        wide = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
        cast(f"DOUBLE_to_{suffix}", wide, encode(name, wide, saturate), name, saturate=saturate)
        with np.errstate(over="ignore"):
            half = points.astype(np.float16)
        cast(f"FLOAT16_to_{suffix}", half, encode(name, half, saturate), name, saturate=saturate)
        brain = encode("BFLOAT16", points)
        cast(f"BFLOAT16_to_{suffix}", brain, encode(name, table("BFLOAT16")[brain.bits], saturate), name, saturate=saturate)
        ints = np.array([0, 1, -1, 7, -7, 17, 100, -240, 248, 447, 464, 465, 57344, 61439, 61440, 10**6, -2**31, 2**31 - 1])
        cast(f"INT32_to_{suffix}", ints.astype(np.int32), encode(name, ints, saturate), name, saturate=saturate)
        cast(f"BOOL_to_{suffix}", np.array([False, True]), encode(name, [0, 1], saturate), name, saturate=saturate)

# Powers of two.
powers = np.array([0, 2.0**-149, 2.0**-128, 2.0**-127, 1.5 * 2.0**-127, 2.0**-126, 0.124, 0.25, 0.5, 1, 1.1, 1.5, 1.75, 2, 3,
                   2.9999998, 3.0000002, 4, 8, 1e38, 2.0**127, 1.25 * 2.0**127, 3.4e38, np.inf, np.nan], np.float32)
for round in "up", "down", "nearest":
    for saturate in 1, 0:
        suffix = f"FLOAT8E8M0_{round}_saturate_{saturate}"
        cast(f"FLOAT_to_{suffix}", powers, encode_power(powers, round, saturate), "FLOAT8E8M0", round_mode=round, saturate=saturate)
        wide = np.array([2.0**-200, 1 + 2.0**-52, 1.5 - 2.0**-53, 2.0**127 * (1 + 2.0**-52), 1e300])
        cast(f"DOUBLE_to_{suffix}", wide, encode_power(wide, round, saturate), "FLOAT8E8M0", round_mode=round, saturate=saturate)
cast("FLOAT_to_FLOAT8E8M0", powers, encode_power(powers, "up", True), "FLOAT8E8M0", opset=24)
cast("INT8_to_FLOAT8E8M0", np.array([0, 1, 3, 100], np.int8), encode_power([0, 1, 3, 100], "up", True), "FLOAT8E8M0")
case("Cast", "round_sideways", opset=24, inputs=[powers], to=24, round_mode="sideways", error="sideways")

# Integers below a byte: odd sizes, all values, packed in inputs, outputs and initializers.
for name, (low, high) in INTS.items():
    span = high - low + 1
    values = np.arange(low, high + 1)
    values = np.append(values, values[:3])  # no whole number of bytes
    packed = Raw(name, values % span)
    cast(f"{name}_to_FLOAT", packed, values.astype(np.float32), "FLOAT")
    cast(f"{name}_to_FLOAT16", packed, values.astype(np.float16), "FLOAT16")
    cast(f"{name}_to_INT8", packed, values.astype(np.int8), "INT8")
    cast(f"{name}_to_UINT8", packed, values.astype(np.uint8), "UINT8")
    cast(f"{name}_to_INT64", packed, values.astype(np.int64), "INT64")
    cast(f"{name}_to_BOOL", packed, values != 0, "BOOL")
    cast(f"{name}_to_itself", packed, packed, name)
    case("Cast", f"{name}_initializer", opset=25, inputs=[packed], constants=[0], outputs=[values.astype(np.int32)], to=6)
    for other, (other_low, other_high) in INTS.items():
        if other != name:
            cast(f"{name}_to_{other}", packed, Raw(other, values % (other_high - other_low + 1)), other)
    for other in EIGHT + ["FLOAT4E2M1", "BFLOAT16"]:
        cast(f"{name}_to_{other}", packed, encode(other, values), other)
    wide = np.arange(-9, 16).reshape(5, 5)  # the low bits stay
    for type_name, dtype in ("FLOAT", np.float32), ("FLOAT16", np.float16), ("INT32", np.int32), ("INT8", np.int8):
        cast(f"{type_name}_to_{name}", wide.astype(dtype), Raw(name, wide % span), name)
    cast(f"FLOAT_to_{name}_truncates", np.float32([-1.9, -0.5, 0.5, 1.9, np.nan]), Raw(name, np.array([-1, 0, 0, 1, 0]) % span), name)
    cast(f"{name}_scalar", Raw(name, np.array(1)), np.float32(1), "FLOAT")
    cast(f"{name}_empty", Raw(name, np.zeros((3, 0))), np.zeros((3, 0), np.float32), "FLOAT")

# bf16 and f16 round to nearest even and overflow to infinity.
floats = np.float32([0.47892547, 0.48033667, 1.00390625, 1.01171875, 3.4e38, -3.4e38, 65519, 65520, 1e-40, np.nan, np.inf, -np.inf, -0.0])
cast("FLOAT_to_BFLOAT16", floats, encode("BFLOAT16", floats), "BFLOAT16", opset=13)
with np.errstate(over="ignore"):
    cast("FLOAT_to_FLOAT16", floats, floats.astype(np.float16), "FLOAT16", opset=13)
twice = np.array([1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8, 1 + 3 * 2.0**-8 - 2.0**-40, 1 + 2.0**-11 + 2.0**-40])  # once, not by way of f32
cast("DOUBLE_to_BFLOAT16", twice, encode("BFLOAT16", twice), "BFLOAT16")
cast("DOUBLE_to_FLOAT16", twice, twice.astype(np.float16), "FLOAT16")

# CastLike takes its type from the second input.
like = np.float32([0.3, 100, 1e6, -np.inf, np.nan])
for name in EIGHT:
    case("CastLike", f"{name}", opset=19, inputs=[like, Raw(name, [0])], outputs=[encode(name, like)])
    case("CastLike", f"{name}_no_saturate", opset=19, inputs=[like, Raw(name, [0])], outputs=[encode(name, like, False)], saturate=0)
case("CastLike", "INT4", opset=21, inputs=[np.float32([[-8, 7, 3]]), Raw("INT4", [0, 0])], outputs=[Raw("INT4", [[8, 7, 3]])])
case("CastLike", "FLOAT8E8M0", opset=24, inputs=[np.float32([1, 3]), Raw("FLOAT8E8M0", [0])], round_mode="down", outputs=[Raw("FLOAT8E8M0", [127, 128])])

# Between two casts, inside a graph: the narrow type is what an intermediate holds.
case("Cast", "through_FLOAT8E4M3FN", opset=19, inputs=[np.float32([[0.3, 17.5, 1000], [-3, 0.001, 5]])],
     nodes=[node("Cast", "x0", "t", to=17), node("Cast", "t", "y0", to=1)],
     outputs=[table("FLOAT8E4M3FN")[encode("FLOAT8E4M3FN", np.float32([[0.3, 17.5, 1000], [-3, 0.001, 5]])).bits].astype(np.float32)])
case("Cast", "through_INT4", opset=21, inputs=[np.float32([[0.3, 17.5, 6], [-3, 0.001, 5]])], dims={0: ["N", "M"]},
     nodes=[node("Cast", "x0", "t", to=22), node("Cast", "t", "y0", to=1)], outputs=[np.float32([[0, 1, 6], [-3, 0, 5]])])
