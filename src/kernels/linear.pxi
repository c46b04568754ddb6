# Linear layers.  y = x w' + b and dx = dy w are convolutions whose pixels are the blocks of images
# (the callers give such strides to `conv`).  Only the gradient to the weights has loops of its own:
# its sum runs over the images, so the lanes go over the input features instead.

cdef long long linear_weight_scratch(const void* args) noexcept nogil:
    # three tables: images of x and dy, columns
    cdef const LinearWeight* a = <const LinearWeight*> args
    return sizeof(Py_ssize_t) * (2 * <long long> a.N + (a.C + LANES - 1) // LANES)


cdef void linear_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # `channels` rows of dw.  The scalars are numbers of dy, the vectors those of x: columns are blocks of LANES
    # features; the last one begins at C - LANES and may overlap its neighbour, so C must be at least LANES.
    cdef const LinearWeight* a = <const LinearWeight*> args
    cdef Py_ssize_t columns = (a.C + LANES - 1) // LANES, n, q, last
    cdef Py_ssize_t* x_image = <Py_ssize_t*> scratch
    cdef Py_ssize_t* dy_image = x_image + a.N
    cdef Py_ssize_t* column = dy_image + a.N
    cdef Tile t
    memset(&t, 0, sizeof(t))
    for n in range(a.N):
        x_image[n] = n * a.C
        dy_image[n] = n // LANES * a.K * LANES + n % LANES
    for q in range(columns):
        column[q] = min(q * LANES, a.C - LANES)
    t.cols = columns
    t.inner = a.N
    t.outer = 1
    t.scalar_row_step = LANES
    t.out_row_step = a.C
    t.vector_inner = x_image
    t.scalar_inner = dy_image
    t.vector_col = column
    t.out_col = column
    t.vector = <const real*> a.x
    t.scalar = <const real*> a.dy
    t.out = <real*> a.dw
    last = min((task + 1) * a.channels, a.K)
    run_tiles(&t, task * a.channels, last, best_tile(last - task * a.channels, columns, 2, 16))
