# Pooling.

cdef int run_pool(kernel loop, Pool* a, Table* table, shape, count_include_pad) except -1:
    (a.planes, a.H, a.W, a.R, a.S, a.P, a.Q, a.step_h, a.step_w, a.gap_h, a.gap_w, a.top, a.left,
     a.bottom, a.right) = shape
    at_least_one(&a.H, 10)  # up to gap_w
    within_reach(&a.H, 14)
    a.count_include_pad = count_include_pad
    a.x_row, a.y_row = a.W * table.lanes, a.Q * table.lanes
    a.x_plane, a.y_plane = a.H * a.x_row, a.P * a.y_row
    return run(loop, a, sizeof(Pool), 3, a.planes, <double> a.planes * a.P * a.Q * a.R * a.S * table.lanes)


def max_pool2d(x, y, place, int itemsize, shape):
    """Maxima into y and, unless `place` is None, which tap of each window they came from."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    outputs = shape[0], *shape[5:7], table.lanes
    a.x = pointer(x, (*shape[:3], table.lanes), itemsize)
    a.y = pointer(y, outputs, itemsize, True)
    a.place = NULL if place is None else pointer(place, outputs, itemsize, True)
    run_pool(table.max_pool, &a, table, shape, False)


def max_pool2d_input(dy, place, dx, int itemsize, shape):
    """dx: each gradient at the place that `max_pool2d` noted."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    outputs = shape[0], *shape[5:7], table.lanes
    a.x = pointer(dy, outputs, itemsize)
    a.place = pointer(place, outputs, itemsize)
    a.y = pointer(dx, (*shape[:3], table.lanes), itemsize, True)
    run_pool(table.max_pool_back, &a, table, shape, False)


def avg_pool2d(x, y, int itemsize, shape, bint count_include_pad):
    """Means of the windows."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    a.x = pointer(x, (*shape[:3], table.lanes), itemsize)
    a.y = pointer(y, (shape[0], *shape[5:7], table.lanes), itemsize, True)
    a.place = NULL
    run_pool(table.avg_pool, &a, table, shape, count_include_pad)


def avg_pool2d_input(dy, dx, int itemsize, shape, bint count_include_pad):
    """dx: each gradient spread over its window."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    a.x = pointer(dy, (shape[0], *shape[5:7], table.lanes), itemsize)
    a.y = pointer(dx, (*shape[:3], table.lanes), itemsize, True)
    a.place = NULL
    run_pool(table.avg_pool_back, &a, table, shape, count_include_pad)
