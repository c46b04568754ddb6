# Activations, softmax, losses, the way into lanes and out, and the yardstick.

OPS = {"relu": RELU, "relu_back": RELU_BACK, "leaky_relu": LEAKY_RELU,
       "leaky_relu_back": LEAKY_RELU_BACK, "sigmoid": SIGMOID, "sigmoid_back": SIGMOID_BACK,
       "tanh": TANH, "tanh_back": TANH_BACK, "scale": SCALE, "add": ADD, "clip": CLIP}
LOSSES = {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
          "squared_error": SQUARED_ERROR}


def elementwise(op, a, b, y, int itemsize, Py_ssize_t count, double parameter, double high=0.0):
    """y = op(a, b) for `count` numbers, in any layout; b may be None, y may be a or b.

    `parameter` is the slope of a leaky ReLU, or what "clip" clips to, up to `high`.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Map m
    m.count, m.chunk, m.op, m.parameter, m.high = count, CHUNK, OPS[op], parameter, high
    m.a = held.pointer(a, (count,), itemsize)
    m.b = NULL if b is None else held.pointer(b, (count,), itemsize)
    m.y = held.pointer(y, (count,), itemsize, True)
    run(table.elementwise, &m, sizeof(m), 2, 1, (count + CHUNK - 1) // CHUNK, <double> count)


def softmax(a, dy, y, int itemsize, Py_ssize_t N, Py_ssize_t K, Py_ssize_t pixels,
            bint logarithm=False):
    """y = softmax(a) over K channels, or its logarithm; given dy, its gradient where a is the output."""
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


def loss(op, z, target, cost, dz, int itemsize, Py_ssize_t images, Py_ssize_t K, double scale,
         Py_ssize_t pixels=1):
    """The cost of each image and the gradient times `scale`, on lane arrays (blocks, K, pixels, LANES)."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Loss a
    cdef Py_ssize_t N = blocks_of(images, table)
    a.N, a.K, a.pixels, a.op, a.scale = images, K, pixels, LOSSES[op], scale
    if pixels != 1 and a.op != CROSS_ENTROPY:
        raise ValueError(f"pixels: expected 1 for {op}, got {pixels}")
    at_least(1, &K, 1)
    at_least(1, &pixels, 1)
    a.z = held.pointer(z, (N, K, pixels, table.lanes), itemsize)
    a.target = held.pointer(target, (N, K, pixels, table.lanes), itemsize)
    a.cost = held.pointer(cost, (N, table.lanes), itemsize, True)
    a.dz = held.pointer(dz, (N, K, pixels, table.lanes), itemsize, True)
    run(table.loss, &a, sizeof(a), 2, 2, N, 30.0 * images * K * pixels, 0, LIVE)


cdef int run_pack(kernel loop, Pack* a, Py_ssize_t blocks, Py_ssize_t images, Py_ssize_t pixels,
                  int plain) except -1:
    a.N, a.pixels = images, pixels
    return run(loop, a, sizeof(Pack), 1, 1, blocks if pixels else 0, 2.0 * images * pixels, 0, LIVE | plain)


def pack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels, double scale):
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


def unpack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels):
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


def peak(int itemsize, Py_ssize_t tasks):
    """Run multiply-adds in registers; returns how many operations (two for each) were done."""
    cdef Table* table = table_of(itemsize)
    cdef int nothing = 0
    run(table.peak, &nothing, sizeof(nothing), 0, 0, tasks, 1e9, sizeof(double))
    return 2e6 * table.peak_sums * table.lanes * tasks
