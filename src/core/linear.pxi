# Linear layers: convolutions whose pixels are blocks of images.

cdef int run_linear(Table* table, Conv* a, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K, bint short) except -1:
    # a convolution of one "image" whose pixels are the N blocks
    cdef tuple pairs
    at_least(1, &C, 1)
    at_least(1, &K, 1)
    if N == 0:
        return 0
    a.N, a.C, a.K = N, C, K
    a.x_c = a.x_n = a.x_h = a.x_w = table.lanes
    if short:
        pairs = as_pairs(HALVES, a, 1, False)
        C = a.C * a.unit
    a.N = a.G = a.H = a.P = a.step_h = a.step_w = a.taps_h = a.taps_w = 1
    a.W = a.Q = N
    a.tap_h = a.tap_w = a.weight_h = a.weight_w = &ZERO
    a.x_n = a.x_g = a.x_h = a.y_n = a.y_g = a.y_h = a.w_g = 0
    a.y_k = table.lanes
    a.x_w, a.y_w = C * table.lanes, K * table.lanes
    return run_conv(table, a, None, HALVES if short else NULL)


def linear(x, w, bias, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K, clip=None, bint halves=False, /):
    """y = x w' + bias for N blocks of images, w of shape (K, C); y clipped to `clip`, (low, high)."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Conv a
    a.x = held.pointer(x, (N, C, table.lanes), itemsize)
    a.w = held.pointer(w, (K, C), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (K,), itemsize)
    a.y = held.pointer(y, (N, K, table.lanes), itemsize, True)
    a.w_k, a.w_c = C, 1
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    run_linear(table, &a, N, C, K, halves and halves_rate(itemsize, C, K) > 1)


def linear_input(dy, w, dx, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K, bint halves=False, /):
    """dx = dy w."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Conv a
    a.x = held.pointer(dy, (N, K, table.lanes), itemsize)
    a.w = held.pointer(w, (K, C), itemsize)
    a.bias = NULL
    a.y = held.pointer(dx, (N, C, table.lanes), itemsize, True)
    a.w_k, a.w_c = 1, C
    a.clip = False
    run_linear(table, &a, N, K, C, halves and halves_rate(itemsize, K, C) > 1)


def linear_weight(dy, x, dw, int itemsize, Py_ssize_t images, Py_ssize_t C, Py_ssize_t K, bint halves=False, /):
    """dw = dy' x, both in lanes, with C at least LANES.

    A recording keeps both for all blocks, x as plain rows, and makes the product of the whole batch at the end, for then
    no block writes a gradient of its own; where that is no larger than a block of x, each writes it at once.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef LinearWeight a
    cdef Pack p
    cdef Memory part, rows
    cdef void* whole
    cdef Py_ssize_t tasks
    if C < table.lanes:
        raise ValueError(f"C: expected at least {table.lanes}, got {C}")
    a.N = a.blocks = blocks_of(images, table)
    a.live = a.images = images
    a.C, a.K, a.channels, a.vectors, a.first = C, K, CHANNEL_CUT, FEATURE_CUT, 0
    a.dy = held.pointer(dy, (a.N, table.lanes, K), itemsize)
    a.x = held.pointer(x, (a.N, C, table.lanes), itemsize)
    a.dw = whole = held.pointer(dw, (K, C), itemsize, True)
    if halves and half_weight_rate(itemsize, C, K) > 1:
        run_half_linear(&a, a.N, live_lanes(images, a.N, table))
        return
    rows = Memory(images * <object> C * itemsize)
    p.a, p.y, p.bytes, p.scale = a.x, rows.address, 0, 1
    run_pack(table.unpack, &p, a.N, images, C, SECOND_PLAIN)
    a.x = rows.address
    a.step, a.x_step = K * table.lanes * itemsize, C * table.lanes * itemsize
    a.by_block = recording() and K <= table.lanes
    if a.by_block:
        part = Memory(K * C * itemsize)
        a.dw = part.address
    tasks = ((C + table.lanes - 1) // table.lanes + FEATURE_CUT - 1) // FEATURE_CUT
    run(table.linear_weight, &a, sizeof(a), 2, 1, (K + CHANNEL_CUT - 1) // CHANNEL_CUT * tasks, 2.0 * images * C * K,
        0, LIVE if a.by_block else LIVE | REDUCES | GATHERS | BATCH)
    if a.by_block:
        run_block_sum(table, part.address, whole, 1, K * C)
