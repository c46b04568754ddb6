# Convolution and sums of gradients: arrays and sizes become the arguments of the kernels.

cdef struct Shape:
    # N blocks; per group C input and K output channels; the rest as in args.pxi
    Py_ssize_t N, G, C, K, H, W, R, S, P, Q, step_h, step_w, top, left, gap_h, gap_w


cdef Shape shape_of(shape) except *:
    cdef Shape s
    read_sizes(shape, &s.N, 16)
    at_least(1, &s.G, 11)  # up to step_w
    at_least(1, &s.gap_h, 2)
    within_reach(&s.N, 16)
    return s


cdef int run_conv(Table* table, Conv* a, tables=None, const HalfTable* halves=NULL) except -1:
    # Cut one pass into tasks: rows so that the input of a task stays in cache and threads get
    # several tasks each; if there are too few rows, output channels as well.
    cdef int threads = 1 if recording() else get_num_threads()
    cdef Py_ssize_t blocks
    cdef Py_ssize_t cut = CHANNEL_CUT if halves == NULL else max(CHANNEL_CUT, 2 * halves.rows)
    if a.N == 0:
        return 0
    if halves == NULL:
        a.unit = 1
    row_bytes = max(1, a.C * a.unit * a.step_h * a.W * table.lanes * table.itemsize)
    a.rows = max(1, CACHE_SHARE // row_bytes)
    blocks = max((a.P + a.rows - 1) // a.rows, min(a.P, (4 * threads + a.N - 1) // a.N))
    a.rows = (a.P + blocks - 1) // blocks
    blocks = (a.P + a.rows - 1) // a.rows * a.N * a.G
    a.channels = a.K
    if blocks < 2 * threads and threads > 1:
        a.channels = (a.K // (4 * threads) // cut + 1) * cut
    cdef kernel loop = table.conv
    cdef long long scratch = table.conv_scratch(a)
    # a linear layer takes blocks for pixels, which lie farther apart; no taps leave nothing but zeros
    if a.x_w == table.lanes and (a.K <= FEW_CHANNELS or a.taps_h * a.taps_w == 0):
        loop, scratch = table.conv_strips, 0
    elif halves != NULL:
        loop, scratch = halves.conv, halves.conv_scratch(a)
    return run(loop, a, sizeof(Conv), 3, 1, blocks * ((a.K + a.channels - 1) // a.channels),
               2.0 * a.N * a.G * a.K * a.P * a.Q * a.C * a.unit * (a.taps_h * a.taps_w + 1) * table.lanes,
               scratch, 0, tables)


# Winograd's way: for single precision, where the channels are many enough to pay for the transforms.

cdef bint WINOGRAD = True


def set_winograd(bint on, /):
    global WINOGRAD
    WINOGRAD = on


def get_winograd():
    return WINOGRAD


cdef bint winograd_is_faster(const Shape* s, int itemsize, Py_ssize_t P, Py_ssize_t Q, double rate=1) noexcept:
    # The products saved against what the transforms cost, for tiles that cover P x Q; against `rate` of them in the
    # time of one.
    cdef double tiles = tiles_of(P, Q), frequencies = (s.R + 3) * (s.R + 3)
    cdef double pairs = <double> s.C * s.K
    return (WINOGRAD and itemsize == 4 and s.R == s.S and (s.R == 3 or s.R == 5) and s.G == 1
            and s.step_h == 1 and s.step_w == 1 and s.gap_h == 1 and s.gap_w == 1
            and s.top < s.R and s.left < s.S
            and s.R * s.S * <double> (s.P * s.Q) * pairs
            > rate * tiles * frequencies * (pairs + TRANSFORM * (s.C + s.K)))


def winograd_pays(int itemsize, shape, /):
    """Whether `conv2d` would take Winograd's way."""
    cdef Shape s = shape_of(shape)
    return winograd_is_faster(&s, itemsize, s.P, s.Q)


cdef inline Py_ssize_t tiles_of(Py_ssize_t P, Py_ssize_t Q) noexcept:
    return ((P + 3) // 4) * ((Q + 3) // 4)


cdef HalfTable* halves_for(const Shape* s, int itemsize, Py_ssize_t C, Py_ssize_t K, Py_ssize_t P, Py_ssize_t Q,
                           bint halves) noexcept:
    # the kernels of bfloat16, if they are the fastest for P x Q results of K channels from C
    cdef double rate = halves_rate(itemsize, C, K) if halves and s.G == 1 else 0
    return HALVES if rate > 1 and not winograd_is_faster(s, itemsize, P, Q, rate) else NULL


cdef int run_winograd(Table* table, Winograd* a, bint back=False) except -1:
    # `back`: the transpose, with a task for all tiles of a block, for these overlap
    cdef Py_ssize_t tiles = tiles_of(a.H, a.W) if back else tiles_of(a.P, a.Q), chunks = (tiles + 5) // 6
    cdef Py_ssize_t groups = (a.K + table.lanes - 1) // table.lanes
    cdef int frequencies = (a.taps + 3) * (a.taps + 3)
    cdef Memory memory
    cdef WinogradFilter f
    if a.N == 0:
        return 0
    if a.u == NULL:
        memory = Memory(frequencies * <object> groups * a.C * table.lanes * table.itemsize)
        a.u = memory.address
        f.w, f.u, f.K, f.C, f.w_k, f.w_c = a.w, memory.address, a.K, a.C, a.w_k, a.w_c
        f.rotate, f.taps = a.rotate and not back, a.taps
        run(table.winograd_filter, &f, sizeof(f), 1, 1, groups, 30.0 * frequencies * a.K * a.C, 0, ONCE)
    a.chunk = (tiles + chunks - 1) // chunks
    chunks = (tiles + a.chunk - 1) // a.chunk
    a.cut = 1
    if not back:
        return run(table.winograd, a, sizeof(Winograd), 4, 1, a.N * chunks,
                   2.0 * frequencies * a.N * a.K * a.C * tiles * table.lanes, table.winograd_scratch(a), LIVE | CUT)
    if not recording():
        a.cut = max(1, get_num_threads() // a.N)
    return run(table.winograd_back, a, sizeof(Winograd), 4, 1, a.N * a.cut,
               2.0 * frequencies * a.N * a.K * a.C * tiles * table.lanes, table.winograd_back_scratch(a), LIVE | CUT)


cdef Py_ssize_t live_lanes(images, Py_ssize_t N, Table* table) except -1:
    # of the last of N blocks that hold so many images; None if all lanes do
    cdef Py_ssize_t count
    if images is None or N == 0:
        return table.lanes
    count = images
    if count < 0 or blocks_of(count, table) != N:
        raise ValueError(f"images: {count} are not those of {N} blocks of {table.lanes}")
    return count - (N - 1) * table.lanes


def conv2d(x, w, bias, y, int itemsize, shape, clip=None, images=None, u=None, bint halves=False, /):
    """y = x * w + bias, cross-correlation on lane arrays; `shape` as in `Shape`.

    `clip` is None or the (low, high) that y is clipped to.  Here and below, `images` is how many images
    the blocks hold, as many as they can if it is None; `halves` says that the operands, float32, are numbers of
    bfloat16, which may be multiplied as such.  `u` is what `winograd_weights` makes of w, if that is at hand
    where `winograd_pays`.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, r, c
    cdef Conv a
    a.x = held.pointer(x, (s.N, s.G, s.C, s.H, s.W, L), itemsize)
    a.w = held.pointer(w, (s.G, s.K, s.C, s.R, s.S), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (s.G, s.K), itemsize)
    a.y = held.pointer(y, (s.N, s.G, s.K, s.P, s.Q, L), itemsize, True)
    cdef Winograd fast
    cdef Py_ssize_t C = half_channels(&s)
    cdef HalfTable* short = halves_for(&s, itemsize, C, s.K, s.P, s.Q, halves)
    if short == NULL and winograd_is_faster(&s, itemsize, s.P, s.Q):
        fast.x, fast.w, fast.bias, fast.y = a.x, a.w, a.bias, a.y
        fast.N, fast.C, fast.K, fast.H, fast.W, fast.P, fast.Q = s.N, s.C, s.K, s.H, s.W, s.P, s.Q
        fast.top, fast.left, fast.taps, fast.rotate = s.top, s.left, <int> s.R, False
        fast.w_k, fast.w_c, fast.live = s.R * s.S * s.C, s.R * s.S, live_lanes(images, s.N, table)
        fast.u = NULL if u is None else held.pointer(
            u, ((s.R + 3) * (s.R + 3), (s.K + L - 1) // L, s.C, L), itemsize)
        fast.clip = clip is not None
        fast.low, fast.high = clip or (0, 0)
        run_winograd(table, &fast)
        return
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    a.N, a.G, a.C, a.K, a.H, a.W, a.P, a.Q = s.N, s.G, s.C, s.K, s.H, s.W, s.P, s.Q
    a.step_h, a.step_w, a.taps_h, a.taps_w = s.step_h, s.step_w, s.R, s.S
    a.x_w, a.x_h, a.x_c = L, s.W * L, s.H * s.W * L
    a.x_g, a.x_n = s.C * a.x_c, s.G * s.C * a.x_c
    a.y_w, a.y_h, a.y_k = L, s.Q * L, s.P * s.Q * L
    a.y_g, a.y_n = s.K * a.y_k, s.G * s.K * a.y_k
    a.w_c, a.w_k, a.w_g = s.R * s.S, s.C * s.R * s.S, s.K * s.C * s.R * s.S
    cdef Py_ssize_t each = 1  # numbers of w for each tap
    cdef tuple pairs
    if short != NULL and C == s.C:
        pairs = as_pairs(short, &a, s.R * s.S, False)
        each = short.rows * a.unit
    cdef Memory memory = Memory(2 * (s.R + s.S) * sizeof(Py_ssize_t))
    cdef Py_ssize_t* taps = <Py_ssize_t*> memory.address
    a.tap_h, a.weight_h, a.tap_w, a.weight_w = taps, taps + s.R, taps + 2 * s.R, taps + 2 * s.R + s.S
    for r in range(s.R):
        taps[r] = r * s.gap_h - s.top
        taps[s.R + r] = r * s.S * each
    taps += 2 * s.R
    for c in range(s.S):
        taps[c] = c * s.gap_w - s.left
        taps[s.S + c] = c * each
    if C != s.C and short != NULL:
        a.w_k, a.w_c = C, 1
        run_taps(short, &a, memory)
    else:
        run_conv(table, &a, memory, short)


cdef Py_ssize_t taps_along(Py_ssize_t size, Py_ssize_t start, Py_ssize_t step, Py_ssize_t gap,
                           Py_ssize_t stride, Py_ssize_t* tap, Py_ssize_t* weight) noexcept:
    # The taps r with (start - r*gap) divisible by step: their offsets and those of their weights in
    # the rotated kernel.
    cdef Py_ssize_t r, count = 0
    for r in range(size - 1, -1, -1):  # upwards through the pixels, as memory likes it
        if (start - r * gap) % step == 0:
            tap[count] = (start - r * gap) // step
            weight[count] = (size - 1 - r) * stride
            count += 1
    return count


def conv2d_input(dy, w, dx, int itemsize, shape, images=None, bint halves=False, /):
    """dx = the full cross-correlation of dy with the rotated kernel.

    A stride leaves `step_h x step_w` residues of input pixels, each reached by its own taps:
    each is a pass of the forward kernel with stride 1 over dy.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, h0, w0
    cdef Conv a
    cdef Turn turned
    cdef char* out = <char*> held.pointer(dx, (s.N, s.G, s.C, s.H, s.W, L), itemsize, True)
    a.x = held.pointer(dy, (s.N, s.G, s.K, s.P, s.Q, L), itemsize)
    a.w = held.pointer(w, (s.G, s.K, s.C, s.R, s.S), itemsize)
    a.bias = NULL
    cdef Winograd fast
    cdef bint back = tiles_of(s.P, s.Q) < tiles_of(s.H, s.W)
    cdef Py_ssize_t P = s.P if back else s.H, Q = s.Q if back else s.W
    cdef HalfTable* short = halves_for(&s, itemsize, s.K, s.C, P, Q, halves)
    if short == NULL and winograd_is_faster(&s, itemsize, P, Q):
        fast.x, fast.w, fast.bias, fast.y = a.x, a.w, NULL, out
        fast.N, fast.C, fast.K, fast.H, fast.W, fast.P, fast.Q = s.N, s.K, s.C, s.P, s.Q, s.H, s.W
        fast.top, fast.left, fast.taps = s.R - 1 - s.top, s.S - 1 - s.left, <int> s.R
        fast.w_k, fast.w_c, fast.live = s.R * s.S, s.R * s.S * s.C, live_lanes(images, s.N, table)
        fast.u, fast.rotate, fast.clip = NULL, True, False
        run_winograd(table, &fast, back)
        return
    a.N, a.G, a.C, a.K, a.H, a.W = s.N, s.G, s.K, s.C, s.P, s.Q
    a.step_h = a.step_w = 1
    a.clip = False
    a.x_w, a.x_h, a.x_c = L, s.Q * L, s.P * s.Q * L
    a.x_g, a.x_n = s.K * a.x_c, s.G * s.K * a.x_c
    a.y_w, a.y_h, a.y_k = s.step_w * L, s.step_h * s.W * L, s.H * s.W * L
    a.y_g, a.y_n = s.C * a.y_k, s.G * s.C * a.y_k
    a.w_c, a.w_k, a.w_g = s.R * s.S, s.K * s.R * s.S, s.K * s.C * s.R * s.S
    cdef Memory rotated, memory
    cdef Py_ssize_t each = 1
    cdef tuple pairs
    if short != NULL:
        a.w_c, a.w_k = s.C * s.R * s.S, s.R * s.S
        pairs = as_pairs(short, &a, s.R * s.S, True)
        each = short.rows * a.unit
    else:
        rotated = Memory(<object> s.G * s.K * s.C * s.R * s.S * itemsize)
        turned.w, turned.u, turned.C, turned.K, turned.taps = a.w, rotated.address, s.C, s.K, s.R * s.S
        if s.N:
            run(table.turn, &turned, sizeof(turned), 1, 1, s.G * s.C, 2.0 * s.G * s.C * s.K * s.R * s.S, 0, ONCE)
        a.w = rotated.address
    cdef Py_ssize_t* taps
    cdef Py_ssize_t* taps_w
    for h0 in range(min(s.step_h, s.H)):
        for w0 in range(min(s.step_w, s.W)):
            memory = Memory(2 * (s.R + s.S) * sizeof(Py_ssize_t))
            taps = <Py_ssize_t*> memory.address
            taps_w = taps + 2 * s.R
            a.tap_h, a.weight_h, a.tap_w, a.weight_w = taps, taps + s.R, taps_w, taps_w + s.S
            a.taps_h = taps_along(s.R, h0 + s.top, s.step_h, s.gap_h, s.S * each, taps, taps + s.R)
            a.taps_w = taps_along(s.S, w0 + s.left, s.step_w, s.gap_w, each, taps_w, taps_w + s.S)
            a.P = (s.H - h0 + s.step_h - 1) // s.step_h
            a.Q = (s.W - w0 + s.step_w - 1) // s.step_w
            a.y = out + (h0 * s.W + w0) * L * itemsize
            run_conv(table, &a, memory, short)


def conv2d_weight(dy, x, dw, int itemsize, shape, images=None, bint halves=False, /):
    """dw = sum over images and pixels of dy times the input that each tap saw."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, live = live_lanes(images, s.N, table)
    cdef Py_ssize_t count = s.G * s.K * s.C * s.R * s.S, tasks
    cdef ConvWeight a
    a.x = held.pointer(x, (s.N, s.G, s.C, s.H, s.W, L), itemsize)
    a.dy = held.pointer(dy, (s.N, s.G, s.K, s.P, s.Q, L), itemsize)
    cdef void* whole = held.pointer(dw, (s.G, s.K, s.C, s.R, s.S), itemsize, True)
    if s.N == 0:
        memset(whole, 0, count * itemsize)
        return
    if s.R == s.S == s.step_h == s.step_w == 1 and s.P == s.H and s.Q == s.W and s.top == s.left == 0:
        s.Q = s.W = s.H * s.W  # the pixels are one long row
        s.P = s.H = 1
    a.N, a.live = s.N, live
    a.G, a.C, a.K, a.H, a.W, a.R, a.S, a.P, a.Q = s.G, s.C, s.K, s.H, s.W, s.R, s.S, s.P, s.Q
    a.step_h, a.step_w, a.gap_h, a.gap_w = s.step_h, s.step_w, s.gap_h, s.gap_w
    a.top, a.left = s.top, s.left
    if halves and half_weight_is_faster(&s, itemsize):
        run_half_weight(table, &a, whole)
        return
    cdef kernel loop = table.conv_weight
    cdef Memory parts  # of each block, so that they are added up in one order
    if pairs_are_faster(&s, itemsize):
        run_weight_pairs(table, &a, whole)
        return
    if winograd_is_faster(&s, itemsize, s.P, s.Q):
        run_winograd_weight(table, &a, whole)
        return
    cdef long long scratch = 0
    if s.C == 1 and s.K <= FEW_CHANNELS:
        loop, tasks = table.conv_weight_strips, s.G * s.K
    else:
        tasks, scratch = table.conv_weight_tasks(&a), table.conv_weight_scratch(&a)
    alone = s.N == 1 and not recording()
    parts = Memory(0 if alone else s.N * <object> count * itemsize)
    a.dw = whole if alone else <void*> parts.address
    run(loop, &a, sizeof(a), 2, 1, s.N * tasks, 2.0 * s.N * s.P * s.Q * count * L, scratch, LIVE)
    if not alone:
        run_block_sum(table, parts.address, whole, s.N, count)


cdef int run_weight_order(Table* table, const void* parts, void* dw, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K,
                          Py_ssize_t taps) except -1:
    # the sum of parts that have columns in the lanes, as weights
    cdef Py_ssize_t count = table.weight_part(C, K, taps)
    cdef Memory total = Memory(count * <object> table.itemsize)
    cdef WeightOrder o
    run_block_sum(table, parts, total.address, N, count)
    o.part, o.dw, o.C, o.K, o.taps = total.address, dw, C, K, taps
    return run(table.weight_order, &o, sizeof(o), 1, 1, K, <double> count)


cdef bint pairs_are_faster(const Shape* s, int itemsize) noexcept:
    # Few pixels and many channels; where Winograd's way is to be had, its products are fewer but have more around them.
    cdef Py_ssize_t r, down = 0, right = 0
    if (itemsize != 4 or s.G > 1 or s.P * s.Q > min(FEW_PIXELS, 4 * min(s.C, s.K)) or s.H * s.W > 2 * FEW_PIXELS
            or min(s.C, s.K) < 8 or max(s.C, s.K) < 16):
        return False
    if not winograd_is_faster(s, itemsize, s.P, s.Q):
        return True
    for r in range(s.R):
        down += min(s.P, s.H + s.top - r) - max(0, s.top - r)
        right += min(s.Q, s.W + s.left - r) - max(0, s.left - r)
    return 5 * down * right < 8 * ((s.P + 3) // 4) * ((s.Q + 3) // 4) * (s.R + 3) * (s.R + 3)


cdef int run_weight_pairs(Table* table, ConvWeight* a, void* dw) except -1:
    cdef Py_ssize_t count = table.weight_part(a.C, a.K, a.R * a.S)
    cdef Memory parts = Memory(a.N * <object> count * table.itemsize)
    a.dw = parts.address
    run(table.conv_weight_pairs, a, sizeof(ConvWeight), 2, 1, a.N * table.conv_weight_pairs_tasks(a),
        2.0 * a.N * a.P * a.Q * count * table.lanes, table.conv_weight_pairs_scratch(a), LIVE)
    return run_weight_order(table, parts.address, dw, a.N, a.C, a.K, a.R * a.S)


cdef int run_winograd_weight(Table* table, const ConvWeight* direct, void* dw) except -1:
    cdef WinogradWeight a
    cdef Py_ssize_t tiles = ((direct.P + 3) // 4) * ((direct.Q + 3) // 4), chunks, count
    a.x, a.dy = direct.x, direct.dy
    a.C, a.K, a.H, a.W, a.P, a.Q = direct.C, direct.K, direct.H, direct.W, direct.P, direct.Q
    a.top, a.left, a.taps, a.N, a.live = direct.top, direct.left, <int> direct.R, direct.N, direct.live
    chunks = (tiles + SUMMED_TILES - 1) // SUMMED_TILES
    a.chunk = (tiles + chunks - 1) // chunks
    count = table.weight_part(a.C, a.K, a.taps * a.taps)
    cdef Memory parts = Memory(a.N * <object> count * table.itemsize)
    a.sums, a.cut = parts.address, 1
    run(table.winograd_weight, &a, sizeof(a), 2, 1, a.N,
        2.0 * (a.taps + 3) * (a.taps + 3) * a.N * a.C * a.K * tiles * table.lanes,
        table.winograd_weight_scratch(&a), LIVE | CUT)
    return run_weight_order(table, parts.address, dw, a.N, a.C, a.K, a.taps * a.taps)


def channel_sum(dy, db, int itemsize, Py_ssize_t N, Py_ssize_t K, Py_ssize_t pixels,
                images=None, /):
    """db[k] = sum of dy over images and pixels."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ChannelSum a
    a.N, a.K, a.pixels, a.live = N, K, pixels, live_lanes(images, N, table)
    at_least(1, &pixels, 1)
    a.dy = held.pointer(dy, (N, K, pixels, table.lanes), itemsize)
    a.db = held.pointer(db, (K,), itemsize, True)
    run(table.channel_sum, &a, sizeof(a), 1, 1, K, <double> N * K * pixels * table.lanes, 0, LIVE)
