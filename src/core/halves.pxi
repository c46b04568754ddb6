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


cdef double share_used(Py_ssize_t count, Py_ssize_t each) noexcept:
    # of whole groups of so many
    return <double> count / ((count + each - 1) // each * each)


cdef double halves_rate(int itemsize, Py_ssize_t C, Py_ssize_t K) noexcept:
    # products for K channels from C in the time of one of float32, by what is used of pairs and rows; 0: none are there
    if HALVES == NULL or itemsize != 4 or K <= FEW_CHANNELS:
        return 0
    return HALVES.rate * share_used(C, 2 * HALVES.most_pairs) * share_used(K, HALVES.rows)


cdef void units_of(const HalfTable* halves, Py_ssize_t C, Py_ssize_t* units, Py_ssize_t* unit) noexcept:
    # of pairs of so many channels, and the pairs of each
    cdef Py_ssize_t all = (C + 1) // 2
    units[0] = (all + halves.most_pairs - 1) // halves.most_pairs
    unit[0] = (all + units[0] - 1) // units[0]


cdef Memory weights_as_pairs(const HalfTable* halves, Conv* a, Py_ssize_t C, Py_ssize_t taps, bint rotate):
    # The memory of the weights of C channels in pairs, made of those of `a`, which then has all that it says of units and
    # of rows of w for them: of taps, the numbers of a tap are `rows` times `unit`.
    cdef HalfWeights w
    cdef Py_ssize_t groups = (a.K + halves.rows - 1) // halves.rows
    units_of(halves, C, &a.units, &a.unit)
    cdef Memory weights = Memory(4 * groups * <object> a.units * taps * halves.rows * a.unit)
    w.w, w.u = a.w, weights.address
    w.K, w.C, w.taps, w.unit, w.rows, w.rotate, w.w_k, w.w_c = (
        a.K, C, taps, a.unit, halves.rows, rotate, a.w_k, a.w_c)
    if a.N:
        run(halves.weight_pairs, &w, sizeof(w), 1, 1, (a.K + TOGETHER - 1) // TOGETHER, 2.0 * a.K * C * taps, 0, ONCE)
    a.w, a.w_c, a.w_k = w.u, taps * halves.rows * a.unit, a.units * taps * a.unit
    return weights


cdef tuple as_pairs(const HalfTable* halves, Conv* a, Py_ssize_t taps, bint rotate):
    # The memory of weights and pixels in pairs; `a` then has what it says of channels and pixels of x for them too.
    cdef HalfPairs p
    cdef Py_ssize_t L = TABLES[0].lanes
    cdef Memory weights = weights_as_pairs(halves, a, a.C, taps, rotate)
    p.N, p.C, p.pixels, p.unit = a.N, a.C, a.x_c // L, a.unit
    cdef Memory x = Memory(4 * L * a.N * <object> p.pixels * a.units * a.unit)
    p.x, p.y = a.x, x.address
    if a.N:
        run(halves.pairs, &p, sizeof(p), 1, 1, p.N * a.units, <double> p.N * p.C * p.pixels * L)
    a.x, a.C = p.y, a.units
    a.x_w *= a.unit
    a.x_h *= a.unit
    a.x_c *= a.unit
    a.x_n = a.units * a.x_c
    return x, weights


cdef Py_ssize_t half_channels(const Shape* s) noexcept:
    # What the convolution takes for channels: the taps of all of them, where that leaves fewer empty ones.
    cdef Py_ssize_t taps = s.C * s.R * s.S
    if HALVES == NULL or s.C > FEW_INPUTS:
        return s.C
    return taps if share_used(taps, 2 * HALVES.most_pairs) > share_used(s.C, 2 * HALVES.most_pairs) else s.C


cdef int run_taps(const HalfTable* halves, Conv* a, tables) except -1:
    # as a convolution of 1 x 1
    cdef Py_ssize_t L = TABLES[0].lanes, taps = a.C * a.taps_h * a.taps_w, threads = 1 if recording() else get_num_threads()
    cdef Memory weights = weights_as_pairs(halves, a, taps, 1, False)
    if a.N == 0:
        return 0
    a.rows = max(1, TAPS_SHARE // (4 * L * a.Q * a.units * a.unit))
    a.rows = min(a.rows, (a.P * a.N + 4 * threads - 1) // (4 * threads), a.P)
    return run(halves.taps, a, sizeof(Conv), 3, 1, a.N * ((a.P + a.rows - 1) // a.rows),
               2.0 * a.N * a.K * a.P * a.Q * taps * L, halves.taps_scratch(a), 0, tables)


cdef double half_weight_rate(int itemsize, Py_ssize_t across, Py_ssize_t rows) noexcept:
    # likewise of the gradient to the weights, by what is used of lanes and rows
    if HALVES == NULL or itemsize != 4:
        return 0
    return HALVES.rate * share_used(across, TABLES[0].lanes) * share_used(rows, HALVES.rows)


cdef bint half_weight_is_faster(const Shape* s, int itemsize) noexcept:
    cdef Py_ssize_t C = s.C * s.R * s.S if s.C <= FEW_INPUTS else s.C
    cdef bint across = HALVES != NULL and HALVES.across(s.K, C)
    cdef double rate = half_weight_rate(itemsize, s.K, C) if across else half_weight_rate(itemsize, C, s.K)
    if C > s.C and <double> C * s.P * s.Q > TAPS_GATHERED:
        return False
    return rate > 1 and s.G == 1 and not winograd_is_faster(s, itemsize, s.P, s.Q, rate)


cdef Memory as_image_pairs(HalfImages* p, Py_ssize_t live, bint turned):
    # of what `p` says of x
    cdef Py_ssize_t L = TABLES[0].lanes, groups = (p.C + L - 1) // L
    p.live, p.turned, p.rows = live, turned, HALVES.rows
    channels = groups * L if turned else (p.C + p.rows - 1) // p.rows * p.rows
    cdef Memory memory = Memory(2 * L * p.N * <object> p.P * p.Q * channels)
    p.y = memory.address
    run(HALVES.image_pairs, p, sizeof(p[0]), 1, 1, p.N * groups, 2.0 * p.N * p.C * p.P * p.Q * L, 0, LIVE)
    return memory


cdef HalfImages images_of(const void* x, Py_ssize_t N, Py_ssize_t C, Py_ssize_t H, Py_ssize_t W) noexcept:
    # all pixels, as they are
    cdef HalfImages p
    memset(&p, 0, sizeof(p))
    p.x, p.N, p.C, p.H, p.W, p.P, p.Q, p.R, p.S, p.step_h, p.step_w = x, N, C, H, W, H, W, 1, 1, 1, 1
    return p


cdef int run_half_weight(Table* table, const ConvWeight* d, void* dw) except -1:
    cdef HalfImages of_x = images_of(d.x, d.N, d.C, d.H, d.W), of_dy = images_of(d.dy, d.N, d.K, d.P, d.Q)
    cdef HalfWeight a
    a.N, a.C, a.K, a.H, a.W, a.R, a.S, a.P, a.Q = d.N, d.C, d.K, d.H, d.W, d.R, d.S, d.P, d.Q
    a.step_h, a.step_w, a.gap_h, a.gap_w, a.top, a.left = d.step_h, d.step_w, d.gap_h, d.gap_w, d.top, d.left
    if d.C <= FEW_INPUTS:  # the taps of all channels become channels
        of_x.C, of_x.R, of_x.S, of_x.P, of_x.Q = d.C * d.R * d.S, d.R, d.S, d.P, d.Q
        of_x.step_h, of_x.step_w, of_x.gap_h, of_x.gap_w, of_x.top, of_x.left = (
            d.step_h, d.step_w, d.gap_h, d.gap_w, d.top, d.left)
        a.C, a.H, a.W, a.R, a.S = of_x.C, 1, d.P * d.Q, 1, 1
        a.P, a.Q, a.step_h, a.step_w, a.top, a.left = 1, a.W, 1, 1, 0, 0
    cdef Py_ssize_t taps = a.R * a.S, count = table.weight_part(a.C, a.K, taps)
    a.across = HALVES.across(a.K, a.C)
    cdef Memory x = as_image_pairs(&of_x, d.live, not a.across)
    cdef Memory dy = as_image_pairs(&of_dy, d.live, a.across)
    cdef Memory parts = Memory(d.N * <object> count * table.itemsize)
    a.x, a.dy, a.parts = x.address, dy.address, parts.address
    run(HALVES.weight, &a, sizeof(a), 2, 1, a.N * taps, 2.0 * a.N * a.P * a.Q * count * table.lanes,
        HALVES.weight_scratch(&a))
    return run_weight_order(table, parts.address, dw, a.N, a.C, a.K, taps)


cdef int run_half_linear(LinearWeight* a, Py_ssize_t N, Py_ssize_t live) except -1:
    # the pairs of dy and x block by block, their product for the whole batch
    cdef Py_ssize_t L = TABLES[0].lanes, across = (a.C + L - 1) // L
    cdef HalfImages of_x = images_of(a.x, N, a.C, 1, 1), of_dy = images_of(a.dy, N, a.K, 1, 1)
    cdef Memory dy = as_image_pairs(&of_dy, live, False)
    cdef Memory x = as_image_pairs(&of_x, live, True)
    a.dy, a.x, a.channels = dy.address, x.address, 2 * TOGETHER
    a.step, a.x_step = 2 * L * ((a.K + HALVES.rows - 1) // HALVES.rows * HALVES.rows), 2 * L * L * across
    return run(HALVES.linear_weight, a, sizeof(a[0]), 2, 1,
               (a.K + a.channels - 1) // a.channels * ((across + a.vectors - 1) // a.vectors),
               2.0 * a.images * a.C * a.K, HALVES.linear_scratch(a), LIVE | REDUCES | GATHERS | BATCH)
