"""Spectrograms by numpy's own Fourier transform."""
import numpy as np

from models import layer
from table import case, reference


@reference("STFTSpectrogram")
def stft(call):
    c = call.config
    x = call.inputs[0] if c["data_format"] == "channels_first" else np.moveaxis(call.inputs[0], -1, 1)
    frame, step, kernels = c["frame_length"], c["frame_step"] or c["frame_length"] // 2, list(call.weights)
    if c["padding"] == "same":
        n = x.shape[-1]
        total = max((-(-n // step) - 1) * step + frame - n, 0)
        x = np.pad(x, [(0, 0), (0, 0), (total // 2, total - total // 2)])
    frames = np.lib.stride_tricks.sliding_window_view(x, frame, -1)[:, :, ::step]
    mode = c["mode"]
    real = frames @ kernels.pop(0)[:, 0] if mode != "imag" else None
    imag = frames @ kernels.pop(0)[:, 0] if mode != "real" else None
    if mode in ("real", "imag"):
        y = real if mode == "real" else imag
    elif mode == "angle":
        y = np.arctan2(imag, real)
    elif mode == "stft":
        y = np.concatenate([real, imag], -1)
    else:
        power = real**2 + imag**2
        if mode == "psd":
            power[..., 1:-1] *= 2
        y = power if mode == "psd" else np.sqrt(np.maximum(power, 1e-7))
        y = np.log(np.maximum(y, 1e-7)) if mode == "log" else y
    b, channels, steps, count = y.shape
    if c["expand_dims"]:
        return y if c["data_format"] == "channels_first" else y.transpose(0, 2, 3, 1)
    if c["data_format"] == "channels_first":
        return y.transpose(0, 1, 3, 2).reshape(b, channels * count, steps)
    return y.transpose(0, 2, 1, 3).reshape(b, steps, channels * count)


@reference("MelSpectrogram")
def mel(call):
    c = call.config
    n, length = c["fft_length"], c["sequence_length"] or c["fft_length"]
    base = {"hann": 0.5, "hamming": 0.54, None: 1.0}[c["window"]]
    window = np.zeros(n)
    at = (n - length) // 2
    window[at:at + length] = base - (1 - base) * np.cos(2 * np.pi * np.arange(length) / length)
    x = np.pad(call.inputs[0], [(0, 0), (n // 2, n // 2)], "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(x, n, -1)[:, ::c["sequence_stride"]]
    spectrum = np.abs(np.fft.rfft(frames * window)) ** c["mag_exp"]
    to_mel = lambda f: 1127 * np.log(1 + f / 700)
    edges = np.linspace(to_mel(c["min_freq"]), to_mel(c["max_freq"] or int(c["sampling_rate"] / 2)), c["num_mel_bins"] + 2)
    places = to_mel(np.linspace(0, c["sampling_rate"] / 2, n // 2 + 1))[1:, None]
    up = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    matrix = np.vstack([np.zeros(c["num_mel_bins"]), np.maximum(0, np.minimum(up, down))])
    y = spectrum @ matrix
    if c["power_to_db"]:
        y = 10 * np.log10(np.maximum(y, c["min_power"])) - 10 * np.log10(max(abs(c["ref_power"]), c["min_power"]))
        y = np.maximum(y, y.max() - c["top_db"])
    return y.swapaxes(1, 2)


def stft_layer(mode="log", frame=6, step=3, count=5, **config):
    weights = [(n, (frame, 1, count)) for n, other in (("real_kernel", "imag"), ("imag_kernel", "real")) if mode != other]
    return layer("STFTSpectrogram", "y", weights=weights, mode=mode, frame_length=frame, frame_step=step, fft_length=8, window="hann",
                 **{"periodic": False, "scaling": "density", "padding": "valid", "data_format": "channels_last", "expand_dims": False, **config})


for mode in ("log", "magnitude", "psd", "real", "imag", "angle", "stft"):
    case(f"stft_{mode}", stft_layer(mode), shape=(20, 2), versions=(3,))
for order, shape in (("channels_last", (20, 2)), ("channels_first", (2, 20))):
    for expand in (False, True):
        case(f"stft_{order}_{expand}", stft_layer("magnitude", data_format=order, expand_dims=expand, padding="same", step=None), shape=shape,
             versions=(3,))


def mel_layer(**config):
    return layer("MelSpectrogram", "y", **{"fft_length": 32, "sequence_stride": 10, "sequence_length": None, "window": "hann", "sampling_rate": 8000,
                                           "num_mel_bins": 6, "min_freq": 20.0, "max_freq": None, "power_to_db": True, "top_db": 80.0, "mag_exp": 2.0,
                                           "min_power": 1e-10, "ref_power": 1.0, **config})


case("mel", mel_layer(), shape=(100,), versions=(3,))
case("mel_hamming", mel_layer(window="hamming", sequence_length=20, max_freq=3000.0, top_db=20.0), shape=(77,), versions=(3,))
case("mel_plain", mel_layer(window=None, power_to_db=False, mag_exp=1.0), shape=(64,), versions=(3,))
case("mel_reference", mel_layer(ref_power=2.5, sequence_length=31), shape=(64,), versions=(3,))
