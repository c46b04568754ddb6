# Pooling.  `shape` is planes, H, W, R, S, P, Q, step_h, step_w, gap_h, gap_w, top, left, bottom, right.

cdef int pool_sizes(Pool* a, shape) except -1:
    read_sizes(shape, &a.planes, 15)
    at_least(0, &a.planes, 1)
    at_least(1, &a.H, 10)  # up to gap_w
    within_reach(&a.planes, 15)
    a.argmax = NULL
    a.count_include_pad = False
    return 0


cdef int run_pool(kernel loop, Pool* a, Table* table, int inputs, int outputs) except -1:
    if a.planes == 0:
        return 0
    a.x_row, a.y_row = a.W * table.lanes, a.Q * table.lanes
    a.x_plane, a.y_plane = a.H * a.x_row, a.P * a.y_row
    return run(loop, a, sizeof(Pool), inputs, outputs, a.planes,
               <double> a.planes * a.P * a.Q * a.R * a.S * table.lanes)


def max_pool2d(x, y, argmax, int itemsize, shape, /):
    """Maxima into y and, unless `argmax` is None, which tap of each window they came from."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pool a
    pool_sizes(&a, shape)
    a.x = held.pointer(x, (a.planes, a.H, a.W, table.lanes), itemsize)
    a.y = held.pointer(y, (a.planes, a.P, a.Q, table.lanes), itemsize, True)
    if argmax is not None:
        a.argmax = held.pointer(argmax, (a.planes, a.P, a.Q, table.lanes), itemsize, True)
    run_pool(table.max_pool, &a, table, 1, 2)


def max_pool2d_input(dy, argmax, dx, int itemsize, shape, /):
    """dx: each gradient where `max_pool2d` noted the maximum."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pool a
    pool_sizes(&a, shape)
    a.x = held.pointer(dy, (a.planes, a.P, a.Q, table.lanes), itemsize)
    a.argmax = held.pointer(argmax, (a.planes, a.P, a.Q, table.lanes), itemsize)
    a.y = held.pointer(dx, (a.planes, a.H, a.W, table.lanes), itemsize, True)
    run_pool(table.max_pool_back, &a, table, 2, 1)


def avg_pool2d(x, y, int itemsize, shape, bint count_include_pad, /):
    """Means of the windows."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pool a
    pool_sizes(&a, shape)
    a.x = held.pointer(x, (a.planes, a.H, a.W, table.lanes), itemsize)
    a.y = held.pointer(y, (a.planes, a.P, a.Q, table.lanes), itemsize, True)
    a.count_include_pad = count_include_pad
    run_pool(table.avg_pool, &a, table, 1, 2)


def avg_pool2d_input(dy, dx, int itemsize, shape, bint count_include_pad, /):
    """dx: each gradient spread over its window."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Pool a
    pool_sizes(&a, shape)
    a.x = held.pointer(dy, (a.planes, a.P, a.Q, table.lanes), itemsize)
    a.y = held.pointer(dx, (a.planes, a.H, a.W, table.lanes), itemsize, True)
    a.count_include_pad = count_include_pad
    run_pool(table.avg_pool_back, &a, table, 1, 2)
