# Networks of bytes, one image at a time.

cdef ByteTable* BYTES = NULL


def use_bytes(table, /):
    """Take the kernels of bytes of one instruction set, a capsule."""
    global BYTES
    BYTES = <ByteTable*> PyCapsule_GetPointer(table, "cnn_ext.bytes")


cdef ByteTable* byte_table() except NULL:
    if BYTES == NULL:
        raise RuntimeError("no kernels of bytes were chosen")
    return BYTES


def ints():
    """Integers side by side in one vector of the kernels of bytes."""
    return byte_table().ints


def dot_offset():
    """What the kernels of bytes take from each of x before a product; `terms` of byte_conv make up for it."""
    return byte_table().offset


cdef int take_range(limits, float* low, float* high, int* zero) except -1:
    # bounds before the zero point is added: between them every result is a byte
    lowest, highest, offset = limits
    if not 0 <= offset <= 255 or not -offset <= lowest <= highest <= 255 - offset:
        raise ValueError(f"expected bounds of a byte, got {limits}")
    low[0], high[0], zero[0] = lowest, highest, offset
    return 0


def byte_conv(x, w, terms, y, tables, Py_ssize_t K, limits=None, clip=None, Py_ssize_t y_step=0, bint apart=False, /):
    """y[pixel, k] of sums of bytes, see ByteConv (bytes_args.pxi).

    `tables` are where pixels lie in x and in y, and taps of four bytes in x; where x has four times as many pixels, (4, those
    of y), the largest of each four is taken.  `limits`, (low, high, zero), are those of
    the results as bytes; without them they are numbers, between the two of `clip`, in whole vectors, which are y_step apart
    if that is not 0, else side by side.  Channels may be `apart`: then a tap is a byte of each.
    """
    cdef ByteTable* table = byte_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByteConv a
    cdef Py_ssize_t low[3]
    cdef Py_ssize_t high[3]
    cdef Py_ssize_t L = table.ints, parts, least, tasks
    cdef double work
    cdef int i
    kept = list(tables)
    if len(kept) != 3:
        raise ValueError(f"expected three tables, got {len(kept)}")
    for i in range(3):
        kept[i] = offsets(kept[i], &low[i], &high[i])
    a.pixels, a.taps, a.K = length(kept[1]), length(kept[2]), K
    at_least(1, &K, 1)
    within_reach(&K, 1)
    a.each = 4 if length(kept[0]) == 4 * a.pixels else 1
    if length(kept[0]) != a.each * a.pixels:
        raise ValueError("tables of different lengths")
    a.x_pixel, a.y_pixel, a.x_tap = numbers(kept[0]), numbers(kept[1]), numbers(kept[2])
    a.blocks = (K + L - 1) // L
    a.y_step, a.apart = y_step or L, apart
    at_least(1, &a.y_step, 1)
    within_reach(&a.y_step, 1)
    if apart and a.each > 1:
        raise ValueError("channels that are apart: expected as many pixels of x as of y")
    a.x = held.reach(x, 1, low[0] + low[2], high[0] + high[2] + (K - 1 if apart else 3))
    a.w = held.pointer(w, (a.blocks, a.taps, L, 4), 1)
    a.terms = held.pointer(terms, (3, a.blocks, L), 4)
    a.as_numbers, a.zero = limits is None, 0
    if a.as_numbers:
        a.low, a.high = clip or (-float("inf"), float("inf"))
        a.y = held.reach(y, 4, low[1], high[1] + (a.blocks - 1) * <object> a.y_step + L - 1, True)
    else:
        take_range(limits, &a.low, &a.high, &a.zero)
        a.y = held.reach(y, 1, low[1], high[1] + K - 1, True)
    work = 2.0 * a.pixels * a.each * a.taps * a.blocks * L
    a.pixel_cut, parts = a.pixels, cut_blocks(work, a.blocks, &a.block_cut)
    if parts:
        least = PIXEL_CUT if a.each == 1 else FOUR_CUT
        a.pixel_cut = max(1, (a.pixels + parts - 1) // parts // least) * least
    tasks = ((a.pixels + a.pixel_cut - 1) // a.pixel_cut) * ((a.blocks + a.block_cut - 1) // a.block_cut)
    return run(table.conv, &a, sizeof(ByteConv), 3, 1, tasks, work, table.conv_scratch(&a), 0, kept)


def byte_window(op, x, y, shape, steps, zero_x, double scale, limits, Py_ssize_t counts=0, /):
    """Windows of single channels, see ByteWindow: `op` is "max" or "mean".

    `shape` is C, H, W, P, Q, R, S, strides, dilations, top, left; `steps` are first and row of x and of y.
    """
    cdef ByteTable* table = byte_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByteWindow a
    a.op = {"max": BYTE_MAX, "mean": BYTE_MEAN}[op]
    read_sizes(shape, &a.C, 13)
    read_sizes(steps, &a.x_first, 4)
    at_least(1, &a.C, 11)
    at_least(0, &a.top, 6)
    within_reach(&a.C, 17)
    at_least(0, &counts, 1)
    within_reach(&counts, 1)
    if not 0 <= zero_x <= 255:
        raise ValueError(f"zero_x: expected a byte, got {zero_x}")
    a.counts, a.zero_x, a.scale = <int> counts, zero_x, scale
    take_range(limits, &a.low, &a.high, &a.zero)
    x_last = a.x_first + (a.H - 1) * <object> a.x_row + a.W * <object> a.C - 1
    y_last = a.y_first + (a.P - 1) * <object> a.y_row + a.Q * <object> a.C - 1
    a.x = held.reach(x, 1, a.x_first, x_last)
    if a.op == BYTE_MEAN and a.R * <object> a.S > 2**23:
        raise ValueError(f"windows of {a.R} x {a.S}: their sums may not fit")
    a.y = held.reach(y, 1, a.y_first, y_last, True)
    return run(table.window, &a, sizeof(a), 1, 1, a.P, 3.0 * a.P * a.Q * a.C * a.R * a.S)


def byte_add(a_, b_, y, sizes, steps, zeros, scales, limits, /):
    """y = scale_a (a - zero_a) + scale_b (b - zero_b) as bytes, see ByteAdd.

    `sizes` are rows and bytes of each, `steps` first and row of a, b and y.
    """
    cdef ByteTable* table = byte_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByteAdd a
    read_sizes(sizes, &a.rows, 2)
    read_sizes(steps, &a.a_first, 6)
    at_least(1, &a.rows, 2)
    at_least(0, &a.a_first, 6)
    within_reach(&a.rows, 8)
    a.zero_a, a.zero_b = zeros
    a.scale_a, a.scale_b = scales
    if not (0 <= a.zero_a <= 255 and 0 <= a.zero_b <= 255):
        raise ValueError(f"zeros: expected two bytes, got {zeros}")
    take_range(limits, &a.low, &a.high, &a.zero)
    last = [first + (a.rows - 1) * <object> row + a.count - 1
            for first, row in ((a.a_first, a.a_row), (a.b_first, a.b_row), (a.y_first, a.y_row))]
    a.a, a.b = held.reach(a_, 1, a.a_first, last[0]), held.reach(b_, 1, a.b_first, last[1])
    a.y = held.reach(y, 1, a.y_first, last[2], True)
    return run(table.add, &a, sizeof(a), 2, 1, a.rows, 4.0 * a.rows * a.count)


def byte_cast(x, y, places, sizes, steps, double scale, limits, bint back, odd=None, /):
    """Numbers or bytes at `places` of x, (C, H, W), to bytes of y, or `back` to numbers, see ByteCast.

    `sizes` are C, H and W, `steps` first and row of the bytes.  Without `back` bytes in x are taken as they are.
    All numbers of `odd` become NaN if one of x is, else 0.
    """
    cdef ByteTable* table = byte_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByteCast a
    cdef Py_ssize_t low, high, i, before
    read_sizes(sizes, &a.C, 3)
    read_sizes(steps, &a.first, 2)
    at_least(1, &a.C, 3)
    at_least(0, &a.first, 2)
    within_reach(&a.C, 5)
    if not scale > 0:
        raise ValueError(f"scale: expected a number above 0, got {scale}")
    take_range(limits, &a.low, &a.high, &a.zero)
    cdef bytes kept = offsets(places, &low, &high)
    if length(kept) != a.C * <object> a.H * a.W:
        raise ValueError(f"places: expected {a.C * <object> a.H * a.W}, got {length(kept)}")
    a.places, a.scale, a.back = numbers(kept), scale, back
    a.as_they_are = not back and memoryview(x).itemsize == 1
    a.rows = not back and not a.as_they_are
    a.pixels = a.rows and a.C > 1
    for i in range(a.C * a.H * a.W):
        a.rows = a.rows and (i % a.W == 0 or a.places[i] == a.places[i - 1] + 1)
        before = i - a.H * a.W
        a.pixels = a.pixels and (i // (a.H * a.W) % table.ints == 0 or a.places[i] == a.places[before] + 1)
    last = a.first + (a.H - 1) * <object> a.row + a.W * <object> a.C - 1
    if back:
        a.x, a.y = held.reach(x, 1, a.first, last), held.reach(y, 4, low, high, True)
    else:
        a.x, a.y = held.reach(x, 1 if a.as_they_are else 4, low, high), held.reach(y, 1, a.first, last, True)
    a.odd, a.odds = NULL, 0
    if odd is not None:
        a.odd = held.pointer(odd, (), 4, True)
        a.odds = held.views[2].len // 4
    return run(table.cast, &a, sizeof(a), 1, 1 if odd is None else 2, 1, 2.0 * a.C * a.H * a.W, 0, 0, kept)


def byte_fill(y, int value, /):
    """y = value everywhere."""
    cdef ByteTable* table = byte_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef ByteFill a
    if not 0 <= value <= 255:
        raise ValueError(f"value: expected a byte, got {value}")
    a.x = NULL
    a.y = held.pointer(y, (), 1, True)
    a.count, a.value = held.views[0].len, value
    return run(table.fill, &a, sizeof(a), 1, 1, 1, <double> a.count)
