"""Transforms, windows and filters of signals."""
import numpy as np
from case import case, node, random

f32 = np.float32


def pairs(z):
    """Complex numbers as ONNX has them."""
    return np.stack([z.real, z.imag], -1).astype(f32)


def whole(x):
    return x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]


# ---- DFT. Results are no smaller than 1 in all parts, so that each is checked to the last digits; those of a real signal
# are not looked at where they have no imaginary part.


def apart(*shape, seed=0):
    """Numbers of 1 to 2, with signs."""
    return random(*shape, dtype=float, low=1, high=2, seed=seed) * np.sign(random(*shape, dtype=float, seed=seed + 1))


for n in (1, 2, 3, 16, 97, 256, 257, 400, 512, 1000, 1009, 1024, 2018):
    spectrum = apart(3, n) + 1j * apart(3, n, seed=2)
    full, numbers = pairs(np.fft.ifft(spectrum)), slice(1, (n + 1) // 2)
    real, smooth = np.fft.irfft(spectrum[:, :n // 2 + 1], n).astype(f32), apart(3, n).astype(f32)
    forward = pairs(np.fft.fft(real))[:, numbers]
    begin, end = np.array([1]), np.array([(n + 1) // 2])
    for sides in (0, 1) if n > 2 else ():
        case("DFT", f"real_{n}_{sides}", inputs=[real[..., None], begin, end, np.array([1])], outputs=[forward], constants=[1, 2, 3],
             nodes=[node("DFT", "x0", "all", onesided=sides), node("Slice", "all x1 x2 x3", "y0")])
    case("DFT", f"complex_{n}", opset=20, inputs=[full], outputs=[pairs(np.fft.fft(whole(full)))])
    case("DFT", f"inverse_{n}", opset=20, inputs=[pairs(np.fft.fft(spectrum))], outputs=[pairs(spectrum)], inverse=1)
    case("DFT", f"inverse_onesided_{n}", opset=20, inputs=[pairs(np.fft.rfft(smooth)), np.int64(n)], outputs=[smooth[..., None]],
         inverse=1, onesided=1)

block, parts = random(2, 4, 6, 5, 1), random(2, 4, 6, 5, 2)
for axis in (0, 1, 2, 3, -2, -4):
    at = axis if axis >= 0 else axis + 4 + 1
    case("DFT", f"axis_{axis}", opset=17, inputs=[block], outputs=[pairs(np.fft.fft(whole(block), axis=at))], axis=axis)
    case("DFT", f"axis_{axis}", opset=20, inputs=[parts, None, np.int64(axis)], outputs=[pairs(np.fft.fft(whole(parts), axis=at))])
case("DFT", "default_axis", opset=17, inputs=[block], outputs=[pairs(np.fft.fft(whole(block), axis=1))])
case("DFT", "default_axis", opset=20, inputs=[block], outputs=[pairs(np.fft.fft(whole(block), axis=3))])
for n in (3, 9):
    case("DFT", f"length_{n}", opset=20, inputs=[parts, np.int64(n), np.int64(2)], outputs=[pairs(np.fft.fft(whole(parts), n, axis=2))])
    case("DFT", f"inverse_length_{n}", opset=20, inputs=[parts, np.int64(n), np.int64(2)], inverse=1, outputs=[pairs(np.fft.ifft(whole(parts), n, axis=2))])
case("DFT", "default_inverse_length", opset=20, inputs=[parts, None, np.int64(2)], inverse=1, onesided=1,
     outputs=[np.fft.irfft(whole(parts), 10, axis=2).astype(f32)[..., None]])
case("DFT", "f64", opset=20, inputs=[parts.astype(np.float64)], outputs=[pairs(np.fft.fft(whole(parts), axis=3)).astype(np.float64)])
case("DFT", "symbolic", opset=20, inputs=[parts], dims={0: ["N", 4, "M", 5, 2]}, outputs=[pairs(np.fft.fft(whole(parts), axis=3))])
case("DFT", "symbolic_length", opset=20, inputs=[parts], dims={0: [2, 4, 6, "M", 2]}, error="of an axis of size M")
case("DFT", "onesided_complex", opset=20, inputs=[parts], onesided=1, error="one-sided transform of complex numbers")
case("DFT", "axis_of_parts", opset=20, inputs=[parts, None, np.int64(-1)], error="axis 4 holds real and imaginary parts")
case("DFT", "three_parts", opset=20, inputs=[random(2, 4, 3)], error="the last axis must hold")

# ---- STFT


def stft(signal, step, window, onesided=True):
    n = len(window)
    frames = np.stack([signal[:, i:i + n] * window for i in range(0, signal.shape[1] - n + 1, step)], 1)
    spectrum = np.fft.fft(frames, axis=-1)
    return pairs(spectrum[..., :n // 2 + 1] if onesided else spectrum)


signal, wave, hann = random(2, 50, 1), random(2, 50, 2), np.hanning(16).astype(f32)
case("STFT", "window", inputs=[signal, np.int64(7), hann], outputs=[stft(whole(signal), 7, hann)])
case("STFT", "length", inputs=[signal, np.int64(8), None, np.int64(9)], outputs=[stft(whole(signal), 8, np.ones(9))])
case("STFT", "both_sides", inputs=[signal, np.int64(7), hann, np.int64(16)], outputs=[stft(whole(signal), 7, hann, False)], onesided=0)
case("STFT", "complex", inputs=[wave, np.int64(7), hann], outputs=[stft(whole(wave), 7, hann, False)], onesided=0)
case("STFT", "without_parts", inputs=[signal[..., 0], np.int64(7), hann], outputs=[stft(whole(signal), 7, hann)])
case("STFT", "symbolic", inputs=[signal, np.int64(7), hann], constants=[1, 2], dims={0: ["N", "L", 1]}, outputs=[stft(whole(signal), 7, hann)])
long = random(1, 3000, 1)
case("STFT", "long", inputs=[long, np.int64(160), np.hanning(400).astype(f32)], outputs=[stft(whole(long), 160, np.hanning(400))])
case("STFT", "other_window", inputs=[signal, np.int64(7), hann, np.int64(9)], error="a window f32[16] for frames of 9")
case("STFT", "short_signal", inputs=[signal[:, :9], np.int64(7), hann], error="shorter than a window of 16")

# ---- Windows and filters

for name, a in (("HannWindow", (0.5, 0.5, 0)), ("HammingWindow", (25 / 46, 21 / 46, 0)), ("BlackmanWindow", (0.42, 0.5, 0.08))):
    for periodic in (0, 1):
        t = 2 * np.pi * np.arange(10) / (10 if periodic else 9)
        case(name, f"{periodic}", inputs=[np.int32(10)], constants=[0], outputs=[(a[0] - a[1] * np.cos(t) + a[2] * np.cos(2 * t)).astype(f32)], periodic=periodic)


def mel_weights(bins, length, rate, low, high):
    edges = np.linspace(0, bins + 1, bins + 2)
    mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)
    edges = 700 * (10**((mel(low) + edges * (mel(high) - mel(low)) / (bins + 2)) / 2595) - 1)
    edges = ((length + 1) * edges // rate).astype(int)
    y = np.zeros((length // 2 + 1, bins), f32)
    for i, (start, centre, end) in enumerate(zip(edges, edges[1:], edges[2:])):
        y[centre, i] = 1 if start == centre else 0
        for j in range(start, centre + 1):
            y[j, i] = (j - start) / (centre - start) if centre > start else 1
        for j in range(centre, end):
            y[j, i] = (end - j) / (end - centre)
    return y


for bins, length, rate, low, high in ((8, 16, 8192, 0, 4096), (40, 512, 16000, 20, 8000), (80, 100, 16000, 0, 8000)):
    scalars = [np.int64(bins), np.int64(length), np.int64(rate), f32(low), f32(high)]
    case("MelWeightMatrix", f"{bins}", inputs=scalars, constants=range(5), outputs=[mel_weights(bins, length, rate, low, high)])
case("MelWeightMatrix", "backwards", inputs=[*scalars[:3], f32(9), f32(1)], constants=range(5), error="filters of 9 to 1 Hz")

# ---- com.microsoft

wide, z, w = random(2, 6, 10), random(3, 4, 2), random(4, 2)
case("com.microsoft.Rfft", "", inputs=[wide], outputs=[pairs(np.fft.rfft(wide))], signal_ndim=1, onesided=1, normalized=0)
case("com.microsoft.Rfft", "flat", inputs=[wide], outputs=[pairs(np.fft.rfft2(wide))], signal_ndim=2, onesided=1, normalized=0)
case("com.microsoft.Irfft", "", inputs=[pairs(np.fft.rfft(wide))], outputs=[wide], signal_ndim=1, onesided=1, normalized=0)
case("com.microsoft.Irfft", "flat", inputs=[pairs(np.fft.rfft2(wide))], outputs=[wide], signal_ndim=2, onesided=1, normalized=0)
case("com.microsoft.Rfft", "normalized", inputs=[wide], signal_ndim=1, normalized=1, error="normalized must be 0")
case("com.microsoft.ComplexMul", "", inputs=[z, w], outputs=[pairs(whole(z) * whole(w))])
case("com.microsoft.ComplexMulConj", "", inputs=[z, w], outputs=[pairs(whole(z) * whole(w).conj())])
case("com.microsoft.ComplexMul", "real", inputs=[wide, wide], error="f32[2,6,10] holds no complex numbers")
windows = np.stack([wide[:, i:i + 3] for i in (0, 2)], 1).transpose(0, 1, 3, 2)
case("com.microsoft.UnfoldTensor", "", inputs=[wide], outputs=[windows], dim=1, size=3, step=2)
