# Lane arrays (N blocks, C, pixels, LANES) with numbers for each channel.

cdef int run_by_channel(kernel loop, ByChannel* a, Table* table, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels,
                        int marks=0) except -1:
    cdef Py_ssize_t sizes[3]
    sizes[0], sizes[1], sizes[2] = N, C, pixels
    within_reach(sizes, 3)
    if N == 0:
        return 0
    at_least(1, sizes, 3)
    a.N, a.C, a.pixels = N, C, pixels
    a.channels = min(C, max(1, CHUNK // (pixels * table.lanes)))
    return run(loop, a, sizeof(ByChannel), 4, 1, N * ((C + a.channels - 1) // a.channels),
               <double> N * C * pixels * table.lanes, 0, marks)


def affine(x, w, b, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, clip=None, /):
    """y = x w[c] + b[c], clipped to `clip`, (low, high); w and b of shape (C,), or None for 1 and 0."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByChannel a
    sizes = N, C, pixels, table.lanes
    a.x = held.pointer(x, sizes, itemsize)
    a.dy = NULL
    a.w = NULL if w is None else held.pointer(w, (C,), itemsize)
    a.b = NULL if b is None else held.pointer(b, (C,), itemsize)
    a.y = held.pointer(y, sizes, itemsize, True)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    run_by_channel(table.affine, &a, table, N, C, pixels)


cdef int run_prelu(dy, x, slope, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels) except -1:
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByChannel a
    sizes = N, C, pixels, table.lanes
    a.x = held.pointer(x, sizes, itemsize)
    a.dy = NULL if dy is None else held.pointer(dy, sizes, itemsize)
    cdef Py_buffer* slopes = held.take(slope, itemsize)
    a.same, a.w = slopes.len == itemsize, slopes.buf
    if not a.same and slopes.len // itemsize < C:
        raise ValueError(f"expected one slope or {C}, got {slopes.len // itemsize}")
    a.b = NULL
    a.y = held.pointer(y, sizes, itemsize, True)
    return run_by_channel(table.prelu, &a, table, N, C, pixels)


def prelu(x, slope, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, /):
    """y = x, times slope[c] where x is below 0; slope of shape (C,), or (1,) for all channels."""
    run_prelu(None, x, slope, y, itemsize, N, C, pixels)


def prelu_back(dy, x, slope, dx, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, /):
    """dx = dy, times slope[c] where x is at most 0."""
    run_prelu(dy, x, slope, dx, itemsize, N, C, pixels)


def prelu_slope(dy, x, parts, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, images=None, /):
    """parts[n, c] = sum of dy x over the pixels and images of block n where x is at most 0.

    `block_sum` adds up the blocks.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByChannel a
    sizes = N, C, pixels, table.lanes
    a.x = held.pointer(x, sizes, itemsize)
    a.dy = held.pointer(dy, sizes, itemsize)
    a.w = a.b = NULL
    a.y = held.pointer(parts, (N, C), itemsize, True)
    a.live = live_lanes(images, N, table)
    run_by_channel(table.prelu_slope, &a, table, N, C, pixels, LIVE)
