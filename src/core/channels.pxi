# One image at a time, lanes over channels: tables of offsets become the arguments of the kernels.  Most are there in
# single precision alone, as plans are.

cdef Table* single_table(int itemsize) except NULL:
    if itemsize != 4:
        raise TypeError(f"expected numbers of 4 bytes, got {itemsize}")
    return table_of(itemsize)


cdef bytes offsets(table, Py_ssize_t* least, Py_ssize_t* most):
    # A copy of a table that nobody can change, and how far its numbers reach.
    cdef Py_ssize_t i
    view = memoryview(table)
    if view.ndim != 1 or view.format.lstrip("@=") not in ("i", "l", "q", "n") or view.itemsize != sizeof(Py_ssize_t):
        raise TypeError(f"expected a row of offsets, whole numbers of {sizeof(Py_ssize_t)} bytes, "
                        f"got {view.ndim} axes in format {view.format!r}")
    cdef bytes copy = view.tobytes()
    cdef const Py_ssize_t* at = numbers(copy)
    if not copy:
        raise ValueError("a table of offsets is empty")
    least[0] = most[0] = at[0]
    for i in range(length(copy)):
        least[0] = min(least[0], at[i])
        most[0] = max(most[0], at[i])
    if least[0] < -LARGEST or most[0] > LARGEST:
        raise ValueError(f"expected offsets up to {LARGEST}, got {least[0]} to {most[0]}")
    return copy


cdef const Py_ssize_t* numbers(bytes table) noexcept:
    return <const Py_ssize_t*> <const char*> table


cdef Py_ssize_t length(bytes table) noexcept:
    return len(table) // sizeof(Py_ssize_t)


cdef void find_rows(ChannelConv* a, Py_ssize_t L) noexcept:
    # a.across pixels a row, a.step apart, if they lie so in x and side by side in y, and the taps are 3 x 3 ones
    cdef Py_ssize_t i, across = 1, step
    cdef const Py_ssize_t* x = a.x_pixel
    cdef const Py_ssize_t* y = a.y_pixel
    if a.taps != 9:
        return
    for i in range(9):
        if a.x_tap[i] != a.x_tap[i // 3 * 3] + i % 3 * L:
            return
    step = x[1] - x[0] if a.pixels > 1 else L
    if step != L and step != 2 * L:
        return
    while across < a.pixels and x[across] - x[across - 1] == step and y[across] - y[across - 1] == L:
        across += 1
    for i in range(a.pixels):
        if x[i] != x[i - i % across] + i % across * step or y[i] != y[i - i % across] + i % across * L:
            return
    if a.pixels % across == 0:
        a.across, a.step = across, step // L


cdef Py_ssize_t cut_blocks(double work, Py_ssize_t blocks, Py_ssize_t* block_cut) noexcept:
    # How many blocks of output channels a task has, four or more, so that weights are read once, and into how many parts
    # the pixels are cut besides; 0: a single task has all.
    cdef Py_ssize_t parts = <Py_ssize_t> ceil(work / TASK_WORK)
    block_cut[0] = blocks
    if work <= TASK_WORK:
        return 0
    block_cut[0] = min(blocks, max(4, (blocks + parts - 1) // parts))
    return <Py_ssize_t> ceil(work * block_cut[0] / (TASK_WORK * blocks))


cdef int run_channels(kernel loop, Table* table, ChannelConv* a, x, w, bias, y, tables, clip,
                      bint cut, bint bias_of_pixels=False) except -1:
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Py_ssize_t low[6]
    cdef Py_ssize_t high[6]
    cdef int size = table.itemsize
    cdef Py_ssize_t L = table.lanes, more, w_least, w_most, tasks, parts
    cdef double work
    cdef bytes x_pixel, y_pixel, x_tap, w_tap, w_block, y_block
    cdef int i
    kept = list(tables)
    if len(kept) != 6:
        raise ValueError(f"expected six tables, got {len(kept)}")
    for i in range(6):
        kept[i] = offsets(kept[i], &low[i], &high[i])
    x_pixel, y_pixel, x_tap, w_tap, w_block, y_block = kept
    a.pixels, a.taps, a.blocks = length(x_pixel), length(x_tap), length(w_block)
    if (length(y_pixel), length(w_tap), length(y_block)) != (a.pixels, a.taps, a.blocks):
        raise ValueError("tables of different lengths")
    a.x_pixel, a.y_pixel, a.x_tap = numbers(x_pixel), numbers(y_pixel), numbers(x_tap)
    a.w_tap, a.w_block, a.y_block = numbers(w_tap), numbers(w_block), numbers(y_block)
    more, w_least, w_most = 0, low[3], high[3]
    if not cut:  # depthwise: it reads vectors of x, and the weights of a block one after the other
        more = a.x_block * (a.blocks - 1) + L - 1
        w_least, w_most = min(w_least, 0), max(w_most, (a.taps - 1) * L)
    a.x = held.reach(x, size, low[0] + low[2], high[0] + high[2] + more)
    a.w = held.reach(w, size, low[4] + w_least, high[4] + w_most + L - 1)
    a.bias = held.pointer(bias, (a.pixels if bias_of_pixels else a.blocks * L,), size)
    a.bias_of_pixels = bias_of_pixels
    a.y = held.reach(y, size, low[1] + low[5], high[1] + high[5] + L - 1, True)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    work = 2.0 * a.pixels * a.taps * a.blocks * L
    a.pixel_cut, a.block_cut = a.pixels, a.blocks if cut else 1
    a.across = a.step = 0
    if not cut:
        find_rows(a, L)
    if cut and not bias_of_pixels:
        parts = cut_blocks(work, a.blocks, &a.block_cut)
        if parts:
            a.pixel_cut = max(PIXEL_CUT, (a.pixels + parts - 1) // parts)
    tasks = ((a.pixels + a.pixel_cut - 1) // a.pixel_cut) * ((a.blocks + a.block_cut - 1) // a.block_cut)
    return run(loop, a, sizeof(ChannelConv), 3, 1, tasks, work, 0, 0, kept)


def channel_conv(x, w, bias, y, int itemsize, tables, clip=None, /):
    """y[block, pixel] = bias[block] + sum over taps of w[block, tap] x[pixel + tap], clipped.

    `tables` are those of ChannelConv (args.pxi), in that order.
    """
    cdef Table* table = single_table(itemsize)
    cdef ChannelConv a
    a.x_block = 0
    run_channels(table.channel_conv, table, &a, x, w, bias, y, tables, clip, True)


def pixel_conv(x, w, bias, y, int itemsize, tables, clip=None, /):
    """Likewise with lanes over pixels: x is the weights, w a plain image, a pixel an output channel."""
    cdef Table* table = single_table(itemsize)
    cdef ChannelConv a
    a.x_block = 0
    run_channels(table.channel_conv, table, &a, x, w, bias, y, tables, clip, True, True)


def depthwise(x, w, bias, y, int itemsize, tables, Py_ssize_t x_block, clip=None, /):
    """Likewise, each channel of x by itself; its blocks lie `x_block` apart."""
    cdef Table* table = single_table(itemsize)
    cdef ChannelConv a
    at_least(0, &x_block, 1)
    within_reach(&x_block, 1)
    a.x_block = x_block
    run_channels(table.depthwise, table, &a, x, w, bias, y, tables, clip, False)


def winograd_weights(w, u, int itemsize, Py_ssize_t K, Py_ssize_t C, int taps, /):
    """u[frequencies, blocks of K, C, lanes]: the transformed weights (K, C, taps, taps); taps is 3 or 5."""
    cdef Table* table = single_table(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef WinogradFilter f
    cdef Py_ssize_t groups
    if taps != 3 and taps != 5:
        raise ValueError(f"taps: expected 3 or 5, got {taps}")
    f.w = held.pointer(w, (K, C, taps, taps), itemsize)
    groups = (K + table.lanes - 1) // table.lanes
    f.u = held.pointer(u, ((taps + 3) * (taps + 3), groups, C, table.lanes), itemsize, True)
    f.K, f.C, f.w_k, f.w_c, f.rotate, f.taps = K, C, C * taps * taps, taps * taps, False, taps
    run(table.winograd_filter, &f, sizeof(f), 1, 1, groups, 10.0 * K * C * taps * taps)


def channel_winograd(x, u, w, bias, y, int itemsize, shape, steps, first, clip=None, /):
    """A convolution with stride 1 in Winograd's way.

    `shape` is C, channels, K, filters, H, W, P, Q, top, left, taps; u lies in (frequencies, K, channels, LANES),
    w in (filters, channels, taps, taps); `steps` are x_plane, x_row, y_plane, y_row, `first` where x and y begin.
    """
    cdef Table* table = single_table(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ChannelWinograd a
    cdef Py_ssize_t L = table.lanes, x_first, y_first, tiles, places_
    read_sizes(shape, &a.C, 11)
    read_sizes(steps, &a.x_plane, 4)
    x_first, y_first = first
    at_least(1, &a.C, 8)
    at_least(1, &a.x_plane, 4)
    within_reach(&a.C, 15)
    within_reach(&x_first, 1)
    within_reach(&y_first, 1)
    if a.taps != 3 and a.taps != 5 or a.channels > a.C * L or a.filters <= (a.K - 1) * L:
        raise ValueError(f"shape: {a.taps} taps, {a.channels} channels in {a.C} blocks and {a.filters} filters "
                         f"in {a.K} blocks do not fit together")
    places_ = (a.taps + 3) * (a.taps + 3)
    x_last = <object> x_first + (a.C - 1) * <object> a.x_plane + (a.H - 1) * <object> a.x_row + a.W * L - 1
    a.x = <const char*> held.reach(x, itemsize, x_first, x_last) + x_first * itemsize
    a.u = held.pointer(u, (places_, a.K, a.channels, L), itemsize)
    a.w = held.pointer(w, (a.filters, a.channels, a.taps, a.taps), itemsize)
    a.bias = held.pointer(bias, (a.K, L), itemsize)
    y_last = <object> y_first + (a.K - 1) * <object> a.y_plane + (a.P - 1) * <object> a.y_row + a.Q * L - 1
    a.y = <char*> held.reach(y, itemsize, y_first, y_last, True) + y_first * itemsize
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    tiles = ((a.P + 3) // 4) * ((a.Q + 3) // 4)
    work = 2.0 * places_ * tiles * a.channels * a.K * L
    a.chunk = min(tiles, TILES)
    a.block_cut = a.K
    if work > 2 * TASK_WORK:  # what few tiles do not give to other threads, channels do
        a.block_cut = max(1, (a.K * a.chunk + tiles - 1) // max(tiles, 2 * a.chunk))
    tasks = ((tiles + a.chunk - 1) // a.chunk) * ((a.K + a.block_cut - 1) // a.block_cut)
    run(table.channel_winograd, &a, sizeof(a), 4, 1, tasks, work, table.channel_winograd_scratch(&a))


def pool_channels(x, y, int itemsize, shape, steps, first, count_include_pad=None, /):
    """Maxima, or means if `count_include_pad` is given, of planes that lie apart.

    `steps` are x_plane, x_row, y_plane, y_row; `first` where the first planes begin in x and y.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pool a
    cdef Py_ssize_t L = table.lanes, x_first, y_first
    pool_sizes(&a, shape)
    read_sizes(steps, &a.x_plane, 4)
    at_least(1, &a.planes, 1)
    at_least(1, &a.x_plane, 4)
    within_reach(&a.x_plane, 4)
    x_first, y_first = first
    within_reach(&x_first, 1)
    within_reach(&y_first, 1)
    x_last = <object> x_first + (a.planes - 1) * <object> a.x_plane + (a.H - 1) * <object> a.x_row + a.W * L - 1
    y_last = <object> y_first + (a.planes - 1) * <object> a.y_plane + (a.P - 1) * <object> a.y_row + a.Q * L - 1
    a.x = <const char*> held.reach(x, itemsize, x_first, x_last) + x_first * itemsize
    a.y = <char*> held.reach(y, itemsize, y_first, y_last, True) + y_first * itemsize
    a.count_include_pad = bool(count_include_pad)
    run(table.max_pool if count_include_pad is None else table.avg_pool, &a, sizeof(Pool), 1, 2,
        a.planes, <double> a.planes * a.P * a.Q * a.R * a.S * L)


def embed(x, y, int itemsize, sizes, x_steps, y_steps, Py_ssize_t first, double scale, /):
    """Rows of numbers, or of bytes times `scale`, to their places in y, which is zero elsewhere.

    `sizes` are planes, rows, numbers a row; the steps are those of planes and rows.
    """
    cdef Table* table = single_table(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Planes a
    a.bytes = memoryview(x).itemsize == 1
    read_sizes(sizes, &a.planes, 3)
    read_sizes(x_steps, &a.x_plane, 2)
    read_sizes(y_steps, &a.y_plane, 2)
    a.first, a.scale = first, scale
    at_least(1, &a.planes, 7)
    within_reach(&a.planes, 8)
    x_last = (a.planes - 1) * <object> a.x_plane + (a.H - 1) * <object> a.x_row + a.W - 1
    y_last = first + (a.planes - 1) * <object> a.y_plane + (a.H - 1) * <object> a.y_row + a.W - 1
    a.x = held.reach(x, 1 if a.bytes else itemsize, 0, x_last)
    a.y = held.reach(y, itemsize, first, y_last, True)
    a.size = held.views[1].len // itemsize
    run(table.embed, &a, sizeof(a), 1, 1, 1, <double> a.size)


def pool_pairs(x, y, int itemsize, sizes, x_steps, y_steps, /):
    """Maxima of 2 x 2 numbers of plain planes; `sizes` are planes, rows and columns of y.

    y has room for a vector behind its last number.
    """
    cdef Table* table = single_table(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Planes a
    cdef Py_ssize_t L = table.lanes, last
    memset(&a, 0, sizeof(a))
    read_sizes(sizes, &a.planes, 3)
    read_sizes(x_steps, &a.x_plane, 2)
    read_sizes(y_steps, &a.y_plane, 2)
    at_least(1, &a.planes, 7)
    within_reach(&a.planes, 7)
    last = (a.W + L - 1) // L * L  # columns that are written
    x_last = (a.planes - 1) * <object> a.x_plane + (2 * a.H - 1) * <object> a.x_row + 2 * last - 1
    y_last = (a.planes - 1) * <object> a.y_plane + (a.H - 1) * <object> a.y_row + last - 1
    a.x, a.y = held.reach(x, itemsize, 0, x_last), held.reach(y, itemsize, 0, y_last, True)
    run(table.pool_pairs, &a, sizeof(a), 1, 1, 1, 4.0 * a.planes * a.H * a.W)


def move(x, y, int itemsize, source, target, Py_ssize_t width, /):
    """y[target[i]] = x[source[i]], single numbers (`width` 1) or whole vectors of lanes."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Move a
    cdef Py_ssize_t low[2]
    cdef Py_ssize_t high[2]
    if width != 1 and width != table.lanes:
        raise ValueError(f"width: expected 1 or {table.lanes}, got {width}")
    cdef bytes sources = offsets(source, low, high), targets = offsets(target, low + 1, high + 1)
    a.count, a.width, a.value = length(sources), width, 0
    if length(targets) != a.count:
        raise ValueError("tables of different lengths")
    a.source, a.target = numbers(sources), numbers(targets)
    a.x = held.reach(x, itemsize, low[0], high[0] + width - 1)
    a.y = held.reach(y, itemsize, low[1], high[1] + width - 1, True)
    run(table.move, &a, sizeof(a), 1, 1, 1, <double> a.count * width, 0, 0, (sources, targets))


def fill(y, int itemsize, double value, /):
    """y = value everywhere."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Move a
    memset(&a, 0, sizeof(a))
    a.y = held.pointer(y, (), itemsize, True)
    a.count, a.value = held.views[0].len // itemsize, value
    run(table.fill, &a, sizeof(a), 1, 1, 1, <double> a.count)


def border(y, int itemsize, sizes, steps, Py_ssize_t first, /):
    """Zeros around planes: `sizes` are planes, rows and numbers a row, `steps` those of planes and rows.

    The first number of each plane that stays is its number `first`.
    """
    cdef Table* table = single_table(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Planes a
    memset(&a, 0, sizeof(a))
    read_sizes(sizes, &a.planes, 3)
    read_sizes(steps, &a.y_plane, 2)
    a.first = first
    at_least(1, &a.planes, 3)
    at_least(0, &a.first, 1)
    within_reach(&a.planes, 8)
    if a.W > a.y_row or a.first + (a.H - 1) * <object> a.y_row + a.W > a.y_plane:
        raise ValueError(f"{a.H} rows of {a.W}, {a.y_row} apart, from {first} on do not fit into {a.y_plane}")
    a.y = held.reach(y, itemsize, 0, a.planes * <object> a.y_plane - 1, True)
    run(table.border, &a, sizeof(a), 1, 1, 1, <double> a.planes * a.y_plane)
