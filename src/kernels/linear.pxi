# Linear layers.  y = x w' + b and dx = dy w are convolutions whose pixels are the blocks of images
# (the callers give such strides to `conv`).  Only the gradient to the weights has loops of its own:
# its sum runs over the images, so the lanes go over the input features instead.

cdef void linear_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # `channels` rows of dw.  Columns are blocks of LANES features; the last one begins at
    # C - LANES and may overlap its neighbour, so C must be at least LANES.
    cdef const LinearWeight* a = <const LinearWeight*> args
    cdef Py_ssize_t columns = (a.C + LANES - 1) // LANES, n, q, last
    cdef Py_ssize_t* x_tap = <Py_ssize_t*> scratch
    cdef Py_ssize_t* w_tap = x_tap + a.N
    cdef Py_ssize_t* pixel = w_tap + a.N
    cdef Tile t
    memset(&t, 0, sizeof(t))
    for n in range(a.N):
        x_tap[n] = n * a.C
        w_tap[n] = n // LANES * a.K * LANES + n % LANES
    for q in range(columns):
        pixel[q] = min(q * LANES, a.C - LANES)
    t.pixels = columns
    t.taps = a.N
    t.C = 1
    t.w_k = LANES
    t.y_k = a.C
    t.x_tap = x_tap
    t.w_tap = w_tap
    t.x_pixel = pixel
    t.y_pixel = pixel
    t.x = <const real*> a.x
    t.w = <const real*> a.dy
    t.y = <real*> a.dw
    last = min((task + 1) * a.channels, a.K)
    run_tiles(&t, task * a.channels, last, best_tile(last - task * a.channels, columns, 2, 16))
