# Normalisation over the batch and over each image, on lane arrays (N, C, pixels, LANES).

cdef Py_ssize_t channel_cut(Table* table, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels) except -1:
    # channels of a task, where sizes are such that a block can be counted
    cdef Py_ssize_t[3] sizes
    sizes[0], sizes[1], sizes[2] = N, C, pixels
    within_reach(sizes, 3)
    at_least(0, sizes, 1)
    at_least(1, sizes + 1, 2)
    return max(1, CHUNK // (pixels * table.lanes))


cdef inline Py_ssize_t cuts(Py_ssize_t size, Py_ssize_t cut) noexcept:
    return (size + cut - 1) // cut


def batch_norm_statistics(x, parts, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, images=None, /):
    """parts[n, 2, C]: of each channel of block n the mean, and the sum of squared deviations from it."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchStatistics a
    a.N, a.C, a.pixels, a.channels = N, C, pixels, channel_cut(table, N, C, pixels)
    a.live = live_lanes(images, N, table)
    a.x = held.pointer(x, (N, C, pixels, table.lanes), itemsize)
    a.parts = held.pointer(parts, (N, 2, C), itemsize, True)
    run(table.batch_norm_statistics, &a, sizeof(a), 1, 1, N * cuts(C, a.channels),
        4.0 * N * C * pixels * table.lanes, 0, LIVE)


def batch_norm_merge(parts, mean, squares, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, images, /):
    """What `batch_norm_statistics` tells of the blocks, over all images."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchMerge a
    channel_cut(table, N, C, pixels)
    live_lanes(images, N, table)
    a.N, a.first, a.blocks, a.step, a.images = N, 0, N, 2 * C * itemsize, images
    a.C, a.pixels, a.chunk, a.each = C, pixels, SUM_CHUNK, table.lanes
    a.parts = held.pointer(parts, (N, 2, C), itemsize)
    a.mean = held.pointer(mean, (C,), itemsize, True)
    a.squares = held.pointer(squares, (C,), itemsize, True)
    run(table.batch_norm_merge, &a, sizeof(a), 1, 2, cuts(C, SUM_CHUNK), 8.0 * N * C, 0, REDUCES | BATCH)


def batch_norm_variance(squares, var, int itemsize, Py_ssize_t C, Py_ssize_t pixels, Py_ssize_t images, /):
    """The biased variance of so many numbers, from the sum of squared deviations; var may be squares."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchVariance a
    channel_cut(table, 1, C, pixels)
    within_reach(&images, 1)
    at_least(0, &images, 1)
    a.images, a.C, a.pixels = images, C, pixels
    a.squares = held.pointer(squares, (C,), itemsize)
    a.var = held.pointer(var, (C,), itemsize, True)
    run(table.batch_norm_variance, &a, sizeof(a), 1, 1, 1, C, 0, BATCH)


def batch_norm(x, mean, var, weight, bias, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels,
               double eps, clip=None, /):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, clipped to `clip`, (low, high); y may be x."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchNorm a
    a.N, a.C, a.pixels, a.channels, a.eps = N, C, pixels, channel_cut(table, N, C, pixels), eps
    a.x = held.pointer(x, (N, C, pixels, table.lanes), itemsize)
    a.mean = held.pointer(mean, (C,), itemsize)
    a.var = held.pointer(var, (C,), itemsize)
    a.weight = NULL if weight is None else held.pointer(weight, (C,), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (C,), itemsize)
    a.y = held.pointer(y, (N, C, pixels, table.lanes), itemsize, True)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    run(table.batch_norm, &a, sizeof(a), 5, 1, N * cuts(C, a.channels), 2.0 * N * C * pixels * table.lanes)


def batch_norm_sums(dy, x, mean, var, parts, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels,
                    double eps, images=None, weight=None, bias=None, clip=None, /):
    """parts[n, 2, C]: over block n the sums of dy, and of dy times the normalised x.

    Their sums over the blocks are the gradients at the bias and the weight.  With the `clip` of `batch_norm`, and its
    weight and bias, dy is the gradient at what was clipped.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchSums a
    a.N, a.C, a.pixels, a.channels, a.eps = N, C, pixels, channel_cut(table, N, C, pixels), eps
    a.live = live_lanes(images, N, table)
    a.dy = held.pointer(dy, (N, C, pixels, table.lanes), itemsize)
    a.x = held.pointer(x, (N, C, pixels, table.lanes), itemsize)
    a.mean = held.pointer(mean, (C,), itemsize)
    a.var = held.pointer(var, (C,), itemsize)
    a.weight = NULL if weight is None else held.pointer(weight, (C,), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (C,), itemsize)
    a.parts = held.pointer(parts, (N, 2, C), itemsize, True)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    run(table.batch_norm_sums, &a, sizeof(a), 6, 1, N * cuts(C, a.channels),
        4.0 * N * C * pixels * table.lanes, 0, LIVE)


def batch_norm_input(dy, x, mean, var, weight, sums, dx, int itemsize, Py_ssize_t N, Py_ssize_t C,
                     Py_ssize_t pixels, double eps, images, bias=None, clip=None, /):
    """The gradient at x; `sums` (2, C) are those of `batch_norm_sums` over all images, as are bias and clip.

    If `sums` is None, mean and variance are constants, as in evaluation mode: dx = dy * weight /
    sqrt(var + eps), and x and mean are not looked at without a clip.  dx may be dy.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef BatchInput a
    a.N, a.C, a.pixels, a.channels, a.eps = N, C, pixels, channel_cut(table, N, C, pixels), eps
    live_lanes(images, N, table)
    a.images = images
    a.dy = held.pointer(dy, (N, C, pixels, table.lanes), itemsize)
    a.x = a.mean = NULL
    if sums is not None or clip is not None:
        a.x = held.pointer(x, (N, C, pixels, table.lanes), itemsize)
        a.mean = held.pointer(mean, (C,), itemsize)
    a.sums = NULL if sums is None else held.pointer(sums, (2, C), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (C,), itemsize)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    a.var = held.pointer(var, (C,), itemsize)
    a.weight = NULL if weight is None else held.pointer(weight, (C,), itemsize)
    a.dx = held.pointer(dx, (N, C, pixels, table.lanes), itemsize, True)
    run(table.batch_norm_input, &a, sizeof(a), 7, 1, N * cuts(C, a.channels),
        4.0 * N * C * pixels * table.lanes, 0, BATCH)


cdef Py_ssize_t group_sizes(Table* table, Py_ssize_t N, Py_ssize_t G, Py_ssize_t C, Py_ssize_t pixels,
                            bint across) except -1:
    # pixels of a task across the channels
    within_reach(&G, 1)
    at_least(1, &G, 1)
    channel_cut(table, N, C, pixels)
    if across and G != 1:
        raise ValueError(f"G: expected one group across the channels, got {G}")
    return max(4, CHUNK // (C * table.lanes))


def group_norm(x, weight, bias, y, stats, int itemsize, Py_ssize_t N, Py_ssize_t G, Py_ssize_t C,
               Py_ssize_t pixels, double eps, bint across=False, /):
    """As `batch_norm`, each image by itself: over the pixels of the C channels of each of G groups.

    If `across`, over the C channels at each pixel, and G is 1.  `stats` (N, G or pixels, 2, LANES)
    becomes the mean and 1 / sqrt(variance + eps); `weight` and `bias` (G, C) or None.  y may be x.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef GroupNorm a
    a.N, a.G, a.C, a.pixels, a.eps, a.across = N, G, C, pixels, eps, across
    a.cut = group_sizes(table, N, G, C, pixels, across)
    a.x = held.pointer(x, (N, G, C, pixels, table.lanes), itemsize)
    a.weight = NULL if weight is None else held.pointer(weight, (G, C), itemsize)
    a.bias = NULL if bias is None else held.pointer(bias, (G, C), itemsize)
    a.y = held.pointer(y, (N, G, C, pixels, table.lanes), itemsize, True)
    a.stats = held.pointer(stats, (N, pixels if across else G, 2, table.lanes), itemsize, True)
    run(table.group_norm, &a, sizeof(a), 3, 2, N * (cuts(pixels, a.cut) if across else G),
        6.0 * N * G * C * pixels * table.lanes)


def group_norm_input(dy, x, weight, stats, dx, int itemsize, Py_ssize_t N, Py_ssize_t G, Py_ssize_t C,
                     Py_ssize_t pixels, bint across=False, /):
    """The gradient of `group_norm` at x, with the `stats` that it left.  dx may be dy."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef GroupInput a
    a.N, a.G, a.C, a.pixels, a.across = N, G, C, pixels, across
    a.cut = group_sizes(table, N, G, C, pixels, across)
    a.dy = held.pointer(dy, (N, G, C, pixels, table.lanes), itemsize)
    a.x = held.pointer(x, (N, G, C, pixels, table.lanes), itemsize)
    a.weight = NULL if weight is None else held.pointer(weight, (G, C), itemsize)
    a.stats = held.pointer(stats, (N, pixels if across else G, 2, table.lanes), itemsize)
    a.dx = held.pointer(dx, (N, G, C, pixels, table.lanes), itemsize, True)
    run(table.group_norm_input, &a, sizeof(a), 4, 1, N * (cuts(pixels, a.cut) if across else G),
        8.0 * N * G * C * pixels * table.lanes)


def group_norm_sums(dy, x, stats, parts, int itemsize, Py_ssize_t N, Py_ssize_t G, Py_ssize_t C,
                    Py_ssize_t pixels, images=None, bint across=False, /):
    """As `batch_norm_sums`, parts[n, 2, G * C], with the `stats` of `group_norm`."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef GroupSums a
    a.N, a.G, a.C, a.pixels, a.across = N, G, C, pixels, across
    group_sizes(table, N, G, C, pixels, across)
    a.channels, a.live = channel_cut(table, N, C, pixels), live_lanes(images, N, table)
    a.dy = held.pointer(dy, (N, G, C, pixels, table.lanes), itemsize)
    a.x = held.pointer(x, (N, G, C, pixels, table.lanes), itemsize)
    a.stats = held.pointer(stats, (N, pixels if across else G, 2, table.lanes), itemsize)
    a.parts = held.pointer(parts, (N, 2, G, C), itemsize, True)
    run(table.group_norm_sums, &a, sizeof(a), 3, 1, N * cuts(G * C, a.channels),
        4.0 * N * G * C * pixels * table.lanes, 0, LIVE)
