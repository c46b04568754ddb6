# Products of bfloat16: convolutions and linear layers over pairs of channels.

cdef HalfTable* HALVES = NULL


def use_halves(table, /):
    """Take the kernels of bfloat16 of one instruction set, a capsule; None: have none."""
    global HALVES
    cdef HalfTable* found = NULL
    if table is not None:
        found = <HalfTable*> PyCapsule_GetPointer(table, "cnn_ext.halves")
        if TABLES[0] == NULL or TABLES[0].lanes != found.lanes:
            raise ValueError(f"expected vectors of {found.lanes} numbers of float32 beside bfloat16")
    HALVES = found


def has_halves():
    """Whether there are kernels of bfloat16."""
    return HALVES != NULL


cdef double share_used(Py_ssize_t count, Py_ssize_t each) noexcept:
    # of whole groups of so many
    return <double> count / ((count + each - 1) // each * each)


cdef double halves_rate(int itemsize, Py_ssize_t C, Py_ssize_t K) noexcept:
    # products for K channels from C in the time of one of float32, by what is used of pairs and rows; 0: none are there
    if HALVES == NULL or itemsize != 4 or K <= FEW_CHANNELS:
        return 0
    return HALVES.rate * share_used(C, 2 * HALVES.most_pairs) * share_used(K, HALVES.rows)


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


cdef bint half_weight_is_faster(const Shape* s, int itemsize) noexcept:
    # by what is used of lanes and rows
    cdef Py_ssize_t rows, cols
    cdef double rate
    if HALVES == NULL or itemsize != 4 or s.G > 1:
        return False
    rows, cols = (s.C, s.K) if HALVES.across(s.K, s.C) else (s.K, s.C)
    rate = HALVES.rate * share_used(cols, TABLES[0].lanes) * share_used(rows, HALVES.rows)
    return rate > 1 and not winograd_is_faster(s, itemsize, s.P, s.Q, rate)


cdef Memory as_image_pairs(const void* x, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, Py_ssize_t live, bint turned):
    cdef HalfImages p
    cdef Py_ssize_t L = TABLES[0].lanes, groups = (C + L - 1) // L
    p.N, p.C, p.pixels, p.live, p.turned, p.rows = N, C, pixels, live, turned, HALVES.rows
    channels = groups * L if turned else (C + p.rows - 1) // p.rows * p.rows
    cdef Memory memory = Memory(2 * L * N * <object> pixels * channels)
    p.x, p.y = x, memory.address
    run(HALVES.image_pairs, &p, sizeof(p), 1, 1, N * groups, 2.0 * N * C * pixels * L, 0, LIVE)
    return memory


cdef int run_half_weight(Table* table, const ConvWeight* d, void* dw) except -1:
    cdef HalfWeight a
    cdef Py_ssize_t taps = d.R * d.S, count = table.weight_part(d.C, d.K, taps)
    a.across = HALVES.across(d.K, d.C)
    cdef Memory x = as_image_pairs(d.x, d.N, d.C, d.H * d.W, d.live, not a.across)
    cdef Memory dy = as_image_pairs(d.dy, d.N, d.K, d.P * d.Q, d.live, a.across)
    cdef Memory parts = Memory(d.N * <object> count * table.itemsize)
    a.x, a.dy, a.parts = x.address, dy.address, parts.address
    a.N, a.C, a.K, a.H, a.W, a.R, a.S, a.P, a.Q = d.N, d.C, d.K, d.H, d.W, d.R, d.S, d.P, d.Q
    a.step_h, a.step_w, a.gap_h, a.gap_w, a.top, a.left = d.step_h, d.step_w, d.gap_h, d.gap_w, d.top, d.left
    run(HALVES.weight, &a, sizeof(a), 2, 1, a.N * taps, 2.0 * a.N * a.P * a.Q * count * table.lanes,
        HALVES.weight_scratch(&a))
    return run_weight_order(table, parts.address, dw, a.N, a.C, a.K, taps)
