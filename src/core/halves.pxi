# Products of bfloat16: convolutions and linear layers over pairs of channels.

cdef HalfTable* HALVES = NULL


def use_halves(table, /):
    """Take the kernels of bfloat16 of one instruction set, a capsule; None: have none."""
    global HALVES
    if table is None:
        HALVES = NULL
        return
    if TABLES[0] == NULL or TABLES[0].lanes != 16:
        raise ValueError("expected vectors of 16 numbers of float32 beside bfloat16")
    HALVES = <HalfTable*> PyCapsule_GetPointer(table, "cnn_ext.halves")


def has_halves():
    """Whether there are kernels of bfloat16."""
    return HALVES != NULL


cdef bint halves_are_faster(int itemsize, Py_ssize_t C, Py_ssize_t K) noexcept:
    # where both numbers of a pair are used, and the rows of a tile
    return HALVES != NULL and itemsize == 4 and C > 1 and K > FEW_CHANNELS


cdef tuple as_pairs(const HalfTable* halves, Conv* a, Py_ssize_t taps, bint rotate):
    # The memory of pixels and weights in pairs, made of those of `a`, which then has all that it says of channels, pixels
    # of x and rows of w for them: of taps, the numbers of a tap are `rows` times `unit`.
    cdef HalfPairs p
    cdef HalfWeights w
    cdef Py_ssize_t L = TABLES[0].lanes, all = (a.C + 1) // 2, units = (all + halves.most_pairs - 1) // halves.most_pairs
    cdef Py_ssize_t groups = (a.K + halves.rows - 1) // halves.rows
    p.N, p.C, p.pixels, p.unit = a.N, a.C, a.x_c // L, (all + units - 1) // units
    cdef Memory x = Memory(4 * L * a.N * <object> p.pixels * units * p.unit)
    cdef Memory weights = Memory(4 * groups * <object> units * taps * halves.rows * p.unit)
    p.x, p.y, w.w, w.u = a.x, x.address, a.w, weights.address
    w.K, w.C, w.taps, w.unit, w.rows, w.rotate, w.w_k, w.w_c = (
        a.K, a.C, taps, p.unit, halves.rows, rotate, a.w_k, a.w_c)
    if a.N:
        run(halves.pairs, &p, sizeof(p), 1, 1, p.N * units, <double> p.N * p.C * p.pixels * L)
        run(halves.weight_pairs, &w, sizeof(w), 1, 1, (a.K + TOGETHER - 1) // TOGETHER, 2.0 * a.K * a.C * taps, 0, ONCE)
    a.x, a.w, a.C, a.unit = p.y, w.u, units, p.unit
    a.x_w *= p.unit
    a.x_h *= p.unit
    a.x_c *= p.unit
    a.x_n = units * a.x_c
    a.w_c, a.w_k = taps * halves.rows * p.unit, units * taps * p.unit
    return x, weights
