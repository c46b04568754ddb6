# Dropout by a hash of a key and of places, so that it is the same whoever computes it.

DROPOUT = {"elements": ELEMENTS, "channels": CHANNELS, "images": IMAGES}


cdef void* uint64s(Arrays held, array, Py_ssize_t count, name) except? NULL:
    # the address of at least so many of them
    cdef Py_buffer* view = held.take(array, 0)
    if kind_of(view) not in (c'L', c'Q') or view.itemsize != 8:
        raise TypeError(f"{name}: expected an array of native uint64")
    if view.len // 8 < count or <uintptr_t> view.buf % 8:
        raise ValueError(f"{name}: expected at least {count} numbers at a multiple of 8 bytes")
    return view.buf


def dropout(x, key, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t pixels, double p, int kind,
            Py_ssize_t first=0, /):
    """y = x / (1 - p) for what is kept and 0 for the rest, on lane arrays (N, C, pixels, LANES).

    An element, a channel or all of an image (`kind`, one of DROPOUT) is kept where the hash of `key`, of
    the number of the image, counted from `first` on, and of its number within the image is at least p.
    The backward pass is the same call on dy.  y may be x.
    """
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Drop a
    a.N, a.C, a.pixels, a.channels = N, C, pixels, channel_cut(table, N, C, pixels)
    a.p, a.kind, a.first = p, kind, first
    within_reach(&first, 1)
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected 0 to 1, got {p}")
    if not ELEMENTS <= kind <= IMAGES:
        raise ValueError(f"kind: expected {ELEMENTS} to {IMAGES}, got {kind}")
    a.x = held.pointer(x, (N, C, pixels, table.lanes), itemsize)
    a.key = uint64s(held, key, 2, "key")  # a seed, and a count of the times that it was used
    a.y = held.pointer(y, (N, C, pixels, table.lanes), itemsize, True)
    run(table.dropout, &a, sizeof(a), 2, 1, N * cuts(C, a.channels), 16.0 * N * C * pixels * table.lanes,
        0, NUMBERED)
