"""A library of tenon in Python: the table of runtime/tenon.h through ctypes, sessions with numpy arrays."""
import ctypes

import numpy as np

MAX_RANK = 16
NUMBERS = {np.dtype(d): n for d, n in (("bool", 1), ("i1", 4), ("i2", 5), ("i4", 6), ("i8", 7), ("u1", 10), ("f2", 14), ("f4", 16), ("f8", 17))}
DTYPES = {number: dtype for dtype, number in NUMBERS.items()}
POINTER = ctypes.c_void_p
CODE = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER, POINTER)
STATE_CODE = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_uint32, POINTER)


class Tensor(ctypes.Structure):
    _fields_ = [("data", POINTER), ("size", ctypes.c_uint64), ("dtype", ctypes.c_uint32), ("rank", ctypes.c_uint32),
                ("dims", ctypes.c_int64 * MAX_RANK)]


class Dim(ctypes.Structure):
    _fields_ = [("size", ctypes.c_int64), ("symbol", ctypes.c_char_p)]


class Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dims", ctypes.POINTER(Dim)), ("dtype", ctypes.c_uint32), ("rank", ctypes.c_uint32)]


INFOS = ctypes.POINTER(ctypes.POINTER(Info))


class Table(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("abi_version", ctypes.c_uint32)] + \
        [(name, ctypes.c_char_p) for name in ("name", "triple", "cpu", "features", "source", "producer", "version")] + \
        [(name, ctypes.c_uint32) for name in ("input_count", "output_count", "symbol_count", "kernel_count", "guard_count", "state_count")] + \
        [("inputs", INFOS), ("outputs", INFOS), ("symbols", ctypes.POINTER(ctypes.c_char_p)), ("kernels", POINTER),
         ("guards", ctypes.POINTER(ctypes.c_char_p)), ("weight_bytes", ctypes.c_uint64), ("error_text", POINTER),
         ("state_size", ctypes.CFUNCTYPE(ctypes.c_uint64, POINTER)), ("scratch_size", ctypes.CFUNCTYPE(ctypes.c_uint64, POINTER)),
         ("prepare", ctypes.CFUNCTYPE(ctypes.c_int, POINTER)),
         ("run", ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER, POINTER, POINTER, POINTER)),
         ("output_dims", POINTER), ("kernel_macs", POINTER),
         ("session_open", ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER)), ("session_run", CODE),
         ("session_close", ctypes.CFUNCTYPE(None, POINTER)), ("session_error", ctypes.CFUNCTYPE(ctypes.c_char_p, POINTER)),
         ("session_set_threads", POINTER), ("session_set_profile", POINTER), ("session_profile", POINTER), ("running_cpu", POINTER),
         ("states", INFOS), ("session_reset", ctypes.CFUNCTYPE(ctypes.c_int, POINTER)),
         ("session_get_state", STATE_CODE), ("session_set_state", STATE_CODE)]


def lend(array):
    tensor = Tensor(array.ctypes.data, array.nbytes, NUMBERS[array.dtype], array.ndim)
    tensor.dims[:array.ndim] = array.shape
    return tensor


def take(tensor):
    """A copy of the elements."""
    shape = tensor.dims[:tensor.rank]
    array = np.empty(shape, DTYPES[tensor.dtype])
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, tensor.data, array.nbytes)
    return array


class Session:
    def __init__(self, path):
        query = ctypes.CDLL(str(path)).tenon_query
        query.restype = ctypes.POINTER(Table)
        self.table = query(1).contents
        self.handle = POINTER()
        if self.table.session_open(None, ctypes.byref(self.handle)):
            raise RuntimeError("the session does not open")
        names = lambda infos, count: [infos[i].contents.name.decode() for i in range(count)]
        self.inputs = names(self.table.inputs, self.table.input_count)
        self.outputs = names(self.table.outputs, self.table.output_count)
        self.states = names(self.table.states, self.table.state_count)

    def check(self, code):
        if code:
            raise RuntimeError(self.table.session_error(self.handle).decode())

    def run(self, inputs):
        """Arrays by name to arrays by name."""
        arrays = [np.asarray(inputs[name], order="C") for name in self.inputs]
        given = (Tensor * max(len(arrays), 1))(*map(lend, arrays))
        results = (Tensor * max(len(self.outputs), 1))()
        self.check(self.table.session_run(self.handle, given, results))
        return {name: take(result) for name, result in zip(self.outputs, results)}

    def reset(self):
        self.check(self.table.session_reset(self.handle))

    def state(self, name):
        tensor, index = Tensor(), self.states.index(name)
        self.check(self.table.session_get_state(self.handle, index, ctypes.byref(tensor)))
        array = np.empty(tensor.dims[:tensor.rank], DTYPES[tensor.dtype])
        tensor.data = array.ctypes.data
        self.check(self.table.session_get_state(self.handle, index, ctypes.byref(tensor)))
        return array

    def set_state(self, name, array):
        array = np.asarray(array, order="C")
        self.check(self.table.session_set_state(self.handle, self.states.index(name), ctypes.byref(lend(array))))

    def resize_state(self, name, shape):
        tensor = Tensor(rank=len(shape))
        tensor.dims[:len(shape)] = shape
        self.check(self.table.session_set_state(self.handle, self.states.index(name), ctypes.byref(tensor)))

    def close(self):
        self.table.session_close(self.handle)
