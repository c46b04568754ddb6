# Activations, softmax, losses, the way into lanes and out, and the yardstick.

cdef extern from "kernels/functions.h":
    enum: FUNCTION_COUNT
    const char** FUNCTION_NAMES
    const char** FUNCTION_SAVED

OPS = {FUNCTION_NAMES[i].decode(): i for i in range(FUNCTION_COUNT)}
# "x" or "y": what the gradient of a function of one operand is told, its input or its output
SAVED = {FUNCTION_NAMES[i].decode(): FUNCTION_SAVED[i].decode() for i in range(FUNCTION_COUNT) if FUNCTION_SAVED[i][0]}
LOSSES = {"cross_entropy": CROSS_ENTROPY, "focal": FOCAL, "hinge": HINGE,
          "binary_cross_entropy": BINARY_CROSS_ENTROPY, "squared_error": SQUARED_ERROR, "huber": HUBER}


def elementwise(op, a, b, y, int itemsize, Py_ssize_t count, double p=0.0, double q=0.0, c=None,
                bint once=False, /):
    """y = op(a, b, c) for `count` numbers, in any layout; y may be one of them.

    `op` is a name in `OPS`, made of src/kernels/functions.h, which says what a, b, c, p and q are to it; an
    operand that it does not have is None.  `once` says that nothing else writes y.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Map m
    m.count, m.chunk, m.op, m.p, m.q = count, CHUNK, OPS[op], p, q
    m.a = held.pointer(a, (count,), itemsize)
    m.b = NULL if b is None else held.pointer(b, (count,), itemsize)
    m.c = NULL if c is None else held.pointer(c, (count,), itemsize)
    m.y = held.pointer(y, (count,), itemsize, True)
    run(table.elementwise, &m, sizeof(m), 3, 1, (count + CHUNK - 1) // CHUNK, <double> count, 0,
        ONCE if once else 0)


def softmax(a, dy, y, int itemsize, Py_ssize_t N, Py_ssize_t K, Py_ssize_t pixels,
            bint logarithm=False, /):
    """y = softmax(a) over K channels, or its logarithm; given dy, the gradient, where a is the output."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Softmax args
    args.N, args.K, args.pixels, args.logarithm = N, K, pixels, logarithm
    sizes = N, K, pixels, table.lanes
    at_least(1, &K, 1)
    at_least(1, &pixels, 1)
    args.a = held.pointer(a, sizes, itemsize)
    args.b = NULL if dy is None else held.pointer(dy, sizes, itemsize)
    args.y = held.pointer(y, sizes, itemsize, True)
    run(table.softmax if dy is None else table.softmax_back, &args, sizeof(args), 2, 1, N * pixels,
        10.0 * N * K * pixels * table.lanes)


def loss(op, z, target, weight, cost, dz, int itemsize, Py_ssize_t images, Py_ssize_t K, double scale,
         Py_ssize_t pixels=1, double value=0.0, /):
    """The cost of each image and the gradient times `scale`, on lane arrays (blocks, K, pixels, LANES).

    `weight` (blocks, LANES) multiplies both; `value` is what the op is told: how smooth labels are, gamma or delta.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Loss a
    cdef Py_ssize_t N = blocks_of(images, table)
    a.N, a.K, a.pixels, a.op, a.value, a.scale = images, K, pixels, LOSSES[op], value, scale
    if pixels != 1 and a.op > HINGE:
        raise ValueError(f"pixels: expected 1 for {op}, got {pixels}")
    at_least(1, &K, 1)
    at_least(1, &pixels, 1)
    a.z = held.pointer(z, (N, K, pixels, table.lanes), itemsize)
    a.target = held.pointer(target, (N, K, pixels, table.lanes), itemsize)
    a.weight = held.pointer(weight, (N, table.lanes), itemsize)
    a.cost = held.pointer(cost, (N, table.lanes), itemsize, True)
    a.dz = held.pointer(dz, (N, K, pixels, table.lanes), itemsize, True)
    run(table.loss, &a, sizeof(a), 3, 2, N, 30.0 * images * K * pixels, 0, LIVE)


cdef int run_pack(kernel loop, Pack* a, Py_ssize_t blocks, Py_ssize_t images, Py_ssize_t pixels,
                  int plain) except -1:
    a.N, a.pixels = images, pixels
    return run(loop, a, sizeof(Pack), 1, 1, blocks if pixels else 0, 2.0 * images * pixels, 0, LIVE | plain)


def pack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels, double scale, /):
    """Plain images into lanes; images of bytes are multiplied by `scale`."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pack a
    cdef Py_ssize_t N = blocks_of(images, table)
    a.bytes = memoryview(x).itemsize == 1
    a.scale = scale
    a.a = held.pointer(x, (images, pixels), 1 if a.bytes else itemsize)
    a.y = held.pointer(y, (N, pixels, table.lanes), itemsize, True)
    run_pack(table.pack, &a, N, images, pixels, FIRST_PLAIN)


def unpack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels, /):
    """Lanes into plain images."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pack a
    cdef Py_ssize_t N = blocks_of(images, table)
    a.bytes = 0
    a.scale = 1
    a.a = held.pointer(x, (N, pixels, table.lanes), itemsize)
    a.y = held.pointer(y, (images, pixels), itemsize, True)
    run_pack(table.unpack, &a, N, images, pixels, SECOND_PLAIN)


def peak(int itemsize, Py_ssize_t tasks, /):
    """Run multiply-adds in registers; returns how many operations (two for each) were done."""
    cdef Table* table = table_of(itemsize)
    cdef int nothing = 0
    run(table.peak, &nothing, sizeof(nothing), 0, 0, tasks, 1e9, table.peak_scratch(&nothing))
    return 2e6 * table.peak_sums * table.lanes * tasks
