#!/usr/bin/python3
"""The models of the measure: writes the ONNX files of architectures without a public weight file, fetches the others.

Usage: models.py [--list] [NAME...]     prints the path of each file, in the order asked; without a name, of all

The architectures come from python3-torchvision and architectures.py, with seeded weights, trees from forests.py, and some of them quantized by quantized.py: latency does not depend on them. Batch norms get
seeded values too, so that folding them is real work. Files are cached in ${XDG_CACHE_HOME:-~/.cache}/tenon/bench, under a name that
carries VERSION, and written by a rename: the cache never holds half a file.
"""
import os
import pathlib
import subprocess
import sys
import warnings
from dataclasses import dataclass, field

TOP = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tenon/bench"
VERSION = 1  # of the files: to be counted up when what is written below changes
VERSION_QUANTIZED = 2  # of those that quantized.py makes of them
WORD = "i64"


@dataclass
class Model:
    make: object = None  # called with (torchvision.models, architectures) for a network; None: tests/models/models.tsv has it
    inputs: dict = field(default_factory=dict)  # name -> shape, or (shape, WORD, low, high) for whole numbers in [low, high)
    trees: dict = None  # instead: arguments of forests.ensemble
    opset: int = 14  # the default of the exporter
    is_quantized: bool = False  # a real model that is
    dims: tuple = ()  # NAME=N, for the open sizes of real models
    peer_dims: tuple = ()  # those that ONNX Runtime has to be told besides: it does not read "a + b" as a sum
    float_model: str = None  # instead: what is made of it by `how` of quantized.py
    how: str = None
    further: bool = False  # kinds of layers that the main set lacks, with a mean of their own
    open: dict = field(default_factory=dict)  # axis -> name, of every input: what stays open in the file that --symbolic measures

    @property
    def is_real(self):
        return self.make is None and self.trees is None and self.float_model is None

    @property
    def kind(self):
        if self.float_model or self.is_quantized:
            return "quantized models"
        return "real models" if self.is_real else "further architectures" if self.further else "architectures"

    @property
    def ranges(self):
        """NAME=LOW:HIGH of the inputs that are whole numbers."""
        return [f"{name}={spec[2]}:{spec[3]}" for name, spec in self.inputs.items() if WORD in spec]


def image(size=224):
    return {"image": (1, 3, size, size)}


def words(count, low=0, high=30522):
    return (1, count), WORD, low, high


BERT_INPUTS = {"ids": words(128), "mask": words(128, 1, 2), "types": words(128, 0, 2)}
PAST = {f"past{i}": (1, 12, 128, 64) for i in range(24)}

MODELS = {
    "mlp_mnist": Model(lambda tv, own: own.mlp_mnist(), {"image": (1, 784)}),
    "lenet": Model(lambda tv, own: own.lenet(), {"image": (1, 1, 28, 28)}),
    "squeezenet1_1": Model(lambda tv, own: tv.squeezenet1_1(), image()),
    "resnet18": Model(lambda tv, own: tv.resnet18(), image()),
    "resnet50": Model(lambda tv, own: tv.resnet50(), image(), open={0: "batch"}),
    "mobilenet_v2": Model(lambda tv, own: tv.mobilenet_v2(), image(), open={0: "batch", 2: "height", 3: "width"}),
    "mobilenet_v3_large": Model(lambda tv, own: tv.mobilenet_v3_large(), image()),
    "efficientnet_b0": Model(lambda tv, own: tv.efficientnet_b0(), image()),
    "densenet121": Model(lambda tv, own: tv.densenet121(), image()),
    "vgg16": Model(lambda tv, own: tv.vgg16(), image()),
    "convnext_tiny": Model(lambda tv, own: tv.convnext_tiny(), image(), opset=17),
    "yolov8n": Model(lambda tv, own: own.Yolov8n(), image(640)),
    "unet_small": Model(lambda tv, own: own.UNet(), image(256), open={0: "batch", 2: "height", 3: "width"}),
    "vit_tiny16": Model(lambda tv, own: own.VisionTransformer(192, 3), image(), opset=17),
    "vit_b16": Model(lambda tv, own: own.VisionTransformer(768, 12), image(), opset=17),
    "minilm_l6": Model(lambda tv, own: own.Bert(384, 12, 6), BERT_INPUTS, open={0: "batch", 1: "sequence"}),
    "bert_base": Model(lambda tv, own: own.Bert(768, 12, 12), BERT_INPUTS, open={0: "batch", 1: "sequence"}),
    "whisper_tiny_enc": Model(lambda tv, own: own.WhisperEncoder(), {"mel": (1, 80, 3000)}),
    "gpt2_prefill": Model(lambda tv, own: own.Gpt2(), {"ids": words(64, 0, 50257)}, open={0: "batch", 1: "sequence"}),
    "gpt2_decode": Model(lambda tv, own: own.Gpt2(), {"ids": words(1, 0, 50257), **PAST}),
    "lstm": Model(lambda tv, own: own.Recurrent(own.nn.LSTM), {"x": (1, 64, 128)}),
    "gru": Model(lambda tv, own: own.Recurrent(own.nn.GRU), {"x": (1, 64, 128)}),
    "dlrm": Model(lambda tv, own: own.Dlrm(), {"dense": (16, 13), "sparse": ((16, 26), WORD, 0, 1000)}),
    "resnext50_32x4d": Model(lambda tv, own: tv.resnext50_32x4d(), image(), further=True),
    "regnet_x_400mf": Model(lambda tv, own: tv.regnet_x_400mf(), image(), further=True),
    "dcgan": Model(lambda tv, own: own.dcgan(), {"noise": (1, 100, 1, 1)}, further=True),
    "fcn_head": Model(lambda tv, own: own.FcnHead(), {"deep": (1, 512, 14, 14), "shallow": (1, 256, 28, 28)}, further=True),
    "tcn": Model(lambda tv, own: own.tcn(), {"x": (1, 64, 1000)}, further=True),
    "wav2vec_features": Model(lambda tv, own: own.wav2vec_features(), {"wave": (1, 1, 16000)}, further=True),
    "r3d_18": Model(lambda tv, own: tv.video.r3d_18(), {"clip": (1, 3, 8, 112, 112)}, further=True),
    "r2plus1d_18": Model(lambda tv, own: tv.video.r2plus1d_18(), {"clip": (1, 3, 8, 112, 112)}, further=True),
    "boosting_500x6_row": Model(trees={"trees": 500, "depth": 6}, dims=("N=1",), further=True),
    "boosting_500x6": Model(trees={"trees": 500, "depth": 6}, dims=("N=100",), further=True),
    "forest_100x8": Model(trees={"trees": 100, "depth": 8, "outputs": 3}, dims=("N=100",), further=True),
    "forest_deep": Model(trees={"trees": 100, "depth": 20, "outputs": 3, "leaf_chance": 0.35}, dims=("N=1000",), further=True),
    "blazeface_front": Model(),
    "blazeface_back": Model(),
    "ppocr_mobile_v2_cls": Model(dims=("p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=48", "p2o.DynamicDimension.2=192")),
    "sface": Model(),
    "eyetracking_google": Model(),
    "u2netp": Model(),
    "resnet50_qdq": Model(float_model="resnet50", how="static"),
    "mobilenet_v2_qdq": Model(float_model="mobilenet_v2", how="static"),
    "bert_base_qdq": Model(float_model="bert_base", how="static", inputs=BERT_INPUTS),
    "resnet50_qdq_s8": Model(float_model="resnet50", how="static_signed"),
    "mobilenet_v2_qdq_s8": Model(float_model="mobilenet_v2", how="static_signed"),
    "bert_base_qdq_s8": Model(float_model="bert_base", how="static_signed", inputs=BERT_INPUTS),
    "minilm_l6_dynamic": Model(float_model="minilm_l6", how="dynamic", inputs=BERT_INPUTS),
    "gpt2_decode_int4": Model(float_model="gpt2_decode", how="int4", inputs={"ids": words(1, 0, 50257), **PAST}),
    "minilm_l6_v2_q": Model(is_quantized=True, dims=("batch_size=1", "sequence_length=128"),
                            inputs={"input_ids": words(128), "attention_mask": words(128, 1, 2), "token_type_ids": words(128, 0, 2)}),
    "minimind2_small_q": Model(is_quantized=True, dims=("batch_size=1", "sequence_length=1", "past_sequence_length=128"), peer_dims=("past_sequence_length + sequence_length=129",),
                               inputs={"input_ids": words(1, 0, 6400), "attention_mask": words(129, 1, 2), "position_ids": words(1, 128, 129)}),
    "efficientwordnet": Model(is_quantized=True),
    "ddddocr_common_old": Model(is_quantized=True, dims=("image_width=96",)),
    "ppocrv4_det": Model(dims=("p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=160", "p2o.DynamicDimension.2=224")),
}


FORMS = {  # what bench/run --forms measures: the same model as it is and by --quantize
    "mlp_mnist": ("int8",),
    "lenet": ("int8",),
    "squeezenet1_1": ("int8", "bf16"),
    "resnet50": ("int8", "bf16"),
    "mobilenet_v2": ("int8", "bf16"),
    "efficientnet_b0": ("int8",),
    "yolov8n": ("int8", "bf16"),
    "vit_tiny16": ("int8", "dynamic", "bf16"),
    "minilm_l6": ("int8", "dynamic", "bf16"),
    "bert_base": ("int8", "dynamic", "bf16"),
    "gpt2_decode": ("w8", "w4", "bf16"),
}


# ---- Writing


def example(torch, spec):
    if WORD in spec:
        shape, _, low, high = spec
        return torch.randint(low, high, shape)
    return torch.rand(spec) * 2 - 1


def settle(torch, network, example_inputs):
    """Seeded factors for the batch norms, and as statistics those of an example: otherwise activations of deep networks explode."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
            norm.weight *= 0.8 + 0.4 * torch.rand_like(norm.weight)
            norm.bias += 0.1 * torch.randn_like(norm.bias)
        if norms:
            network(*example_inputs)
    network.eval()


def write_trees(name, path):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import forests
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(forests.ensemble(**MODELS[name].trees))
    part.rename(path)


def write(name, path, is_open=False):
    import torch
    import torchvision.models
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import architectures
    warnings.filterwarnings("ignore")
    model = MODELS[name]
    torch.manual_seed(1)
    network = model.make(torchvision.models, architectures).eval()
    inputs = tuple(example(torch, spec) for spec in model.inputs.values())
    settle(torch, network, inputs)
    part = path.with_suffix(f".{os.getpid()}")
    torch.onnx.export(network, inputs, str(part), opset_version=model.opset, input_names=list(model.inputs), do_constant_folding=True,
                      dynamic_axes=dict.fromkeys(model.inputs, model.open) if is_open else None)
    part.rename(path)


def write_quantized(name, path):
    import numpy
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import quantized
    model = MODELS[name]
    part = path.with_suffix(f".{os.getpid()}")
    random = numpy.random.default_rng(1)
    words = {name: random.integers(spec[2], spec[3], spec[0]) for name, spec in model.inputs.items() if WORD in spec}
    getattr(quantized, model.how)(model_path(model.float_model), part, words)
    part.rename(path)


def model_path(name):
    """The file of a model, written or fetched when it is missing."""
    if MODELS[name].is_real:
        done = subprocess.run([TOP / "scripts/fetch", name], stdout=subprocess.PIPE, text=True, check=True)
        return pathlib.Path(done.stdout.strip().splitlines()[-1])
    model = MODELS[name]
    path = CACHE / f"{name}.{VERSION_QUANTIZED if model.float_model else VERSION}.onnx"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (write_trees if model.trees else write_quantized if model.float_model else write)(name, path)
    return path


def noise(name):
    """Of a quantized model: the root mean square of the difference of outputs, over theirs, that is let pass, and its file with each float that is no scalar (a step that
    ONNX Runtime compares with others) changed by up to a millionth, which is what sums in another order do; its outputs tell how far roundings that fall otherwise may lead."""
    if MODELS[name].kind != "quantized models":
        return []
    import numpy
    import onnx
    from onnx import numpy_helper
    source = model_path(name)
    path = CACHE / f"{source.stem}.shaken.onnx"
    if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
        model, random = onnx.load(str(source)), numpy.random.default_rng(1)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
                array = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array((array * (1 + random.uniform(-1e-6, 1e-6, array.shape))).astype(numpy.float32), tensor.name))
        part = path.with_suffix(f".{os.getpid()}")
        onnx.save(model, str(part))
        part.rename(path)
    return ["--noise", "0.05", "--shaken", path]


def open_path(name):
    """The file with open sizes, and these as NAME=N."""
    model, path = MODELS[name], CACHE / f"{name}.open.{VERSION}.onnx"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        write(name, path, is_open=True)
    spec = next(iter(model.inputs.values()))
    shape = spec[0] if WORD in spec else spec
    return path, [f"{symbol}={shape[axis]}" for axis, symbol in model.open.items()]


def main():
    if sys.argv[1:] == ["--list"]:
        print(*MODELS, sep="\n")
        return
    for name in sys.argv[1:] or MODELS:
        if name not in MODELS:
            sys.exit(f"models.py: no model {name} (see --list)")
        print(model_path(name), flush=True)


if __name__ == "__main__":
    main()
