# Linear layers.  y = x w' + b and dx = dy w are convolutions whose pixels are the blocks of images
# (the callers give such strides to `conv`).  Only the gradient to the weights has loops of its own:
# its sum runs over the images, so the lanes go over the input features instead.

cdef enum:
    ACROSS = 8                 # vectors of columns that are summed at a time


cdef inline int levels_of(Py_ssize_t images) noexcept nogil:
    # of the tree of so many images, LEAF in each of its leaves
    cdef int levels = 1
    images = (images - 1) // LEAF
    while images:
        levels += 1
        images >>= 1
    return levels


cdef long long linear_weight_scratch(const void* args) noexcept nogil:
    # three tables: images of x and dy, columns; and the sums of each level of the tree, and of a leaf
    cdef const LinearWeight* a = <const LinearWeight*> args
    return (sizeof(Py_ssize_t) * (2 * LEAF + 2 * ACROSS)
            + (levels_of(a.N) + 1) * a.channels * ACROSS * <long long> sizeof(vec))


cdef void linear_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # `channels` rows of dw.  The scalars are numbers of dy, the vectors those of x: columns are blocks of LANES
    # features; the last one begins at C - LANES and may overlap its neighbour, so C must be at least LANES.
    cdef const LinearWeight* a = <const LinearWeight*> args
    cdef Py_ssize_t columns = (a.C + LANES - 1) // LANES, first = task * a.channels, n, q, k, image, rows, size
    cdef vec* leaf = <vec*> scratch
    cdef vec* level = leaf + a.channels * ACROSS
    cdef Py_ssize_t* x_image = <Py_ssize_t*> (level + levels_of(a.N) * a.channels * ACROSS)
    cdef Py_ssize_t* dy_image = x_image + LEAF
    cdef Py_ssize_t* column = dy_image + LEAF
    cdef Py_ssize_t* place = column + ACROSS
    cdef Tile t
    cdef int shape
    memset(&t, 0, sizeof(t))
    t.outer = 1
    t.rows = rows = min(a.channels, a.K - first)
    t.scalar_row_step = LANES
    t.vector_inner = x_image
    t.scalar_inner = dy_image
    t.vector_col = column
    t.out_col = place
    t.out = <real*> leaf
    for n in range(LEAF):
        x_image[n] = n * a.C
    q = 0
    while q < columns:
        t.cols = min(ACROSS, columns - q)
        t.out_row_step = t.cols * LANES
        for k in range(t.cols):
            column[k] = min((q + k) * LANES, a.C - LANES)
            place[k] = k * LANES
        shape = best_tile(rows, t.cols, 2, 16)
        size = rows * t.cols
        for n in range((a.N + LEAF - 1) // LEAF):
            t.inner = min(LEAF, a.N - n * LEAF)
            t.vector = <const real*> a.x + n * LEAF * a.C
            for k in range(t.inner):
                image = n * LEAF + k
                dy_image[k] = image // LANES * a.K * LANES + image % LANES + first * LANES
            t.scalar = <const real*> a.dy
            run_tiles(&t, 0, rows, shape)
            add_leaf(level, n, leaf, size)
        leaf_of(level, (a.N + LEAF - 1) // LEAF, leaf, size)
        for k in range(rows):
            for n in range(t.cols):
                (<vec*> (<real*> a.dw + (first + k) * a.C + column[n]))[0] = leaf[k * t.cols + n]
        q += ACROSS


cdef inline void add_leaf(vec* level, Py_ssize_t n, vec* x, Py_ssize_t size) noexcept nogil:
    # `add_number` for so many vectors
    cdef Py_ssize_t i
    while n & 1:
        for i in range(size):
            x[i] = level[i] + x[i]
        level += size
        n >>= 1
    for i in range(size):
        level[i] = x[i]


cdef inline void leaf_of(const vec* level, Py_ssize_t count, vec* x, Py_ssize_t size) noexcept nogil:
    # `number_of`
    cdef bint begun = False
    cdef Py_ssize_t i
    if count == 0:
        memset(x, 0, size * sizeof(vec))
    while count:
        if count & 1:
            for i in range(size):
                x[i] = level[i] + x[i] if begun else level[i]
            begun = True
        level += size
        count >>= 1
