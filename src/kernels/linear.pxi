# Linear layers.  y = x w' + b and dx = dy w are convolutions whose pixels are the blocks of images
# (the callers give such strides to `conv`).  Only the gradient to the weights has loops of its own:
# its sum runs over the images, so the lanes go over the input features instead.

cdef enum:
    GROUP = 4 * LEAF           # images whose sums stay in registers, three of each number
    ACROSS = 2                 # vectors of features at a time


cdef inline void leaf_sums(const LinearWeight* a, Py_ssize_t first, Py_ssize_t images, const Py_ssize_t* row,
                           const Py_ssize_t* column, vec* sums, int rows) noexcept nogil:
    # of LEAF images, or what is left of them; they lie in one block, unless that has fewer
    cdef vec acc[4][ACROSS]
    cdef vec here[ACROSS]
    cdef vec dy
    cdef Py_ssize_t left = min(LEAF, images)
    cdef const real* at = <const real*> (<const char*> a.dy + first // LANES * a.step) + first % LANES
    cdef const real* features = <const real*> (<const char*> a.x + first // LANES * a.x_step) + first % LANES * a.C
    cdef int i, j
    for i in range(rows):
        for j in range(ACROSS):
            acc[i][j] = VEC_ZERO
    while left > 0:
        for j in range(ACROSS):
            here[j] = (<const vec*> (features + column[j]))[0]
        for i in range(rows):
            dy = vec_all(at[row[i]])
            for j in range(ACROSS):
                acc[i][j] += dy * here[j]
        left -= 1
        first += 1
        if LANES < LEAF and first % LANES == 0:
            at = <const real*> (<const char*> a.dy + first // LANES * a.step)
            features = <const real*> (<const char*> a.x + first // LANES * a.x_step)
        else:
            at += 1
            features += a.C
    for i in range(rows):
        for j in range(ACROSS):
            sums[i * ACROSS + j] = acc[i][j]


cdef inline void group_sums(const LinearWeight* a, Py_ssize_t first, Py_ssize_t images, const Py_ssize_t* row,
                            const Py_ssize_t* column, vec* sums, int rows) noexcept nogil:
    # the tree of up to four leaves
    cdef vec more[4 * ACROSS]
    cdef vec most[4 * ACROSS]
    cdef int i
    leaf_sums(a, first, images, row, column, sums, rows)
    if images > LEAF:
        leaf_sums(a, first + LEAF, images - LEAF, row, column, more, rows)
        for i in range(rows * ACROSS):
            sums[i] += more[i]
    if images > 2 * LEAF:
        leaf_sums(a, first + 2 * LEAF, images - 2 * LEAF, row, column, more, rows)
        if images > 3 * LEAF:
            leaf_sums(a, first + 3 * LEAF, images - 3 * LEAF, row, column, most, rows)
            for i in range(rows * ACROSS):
                more[i] += most[i]
        for i in range(rows * ACROSS):
            sums[i] += more[i]


cdef inline void weights_at(const LinearWeight* a, Py_ssize_t k, Py_ssize_t last, const Py_ssize_t* column,
                            int rows) noexcept nogil:
    # two vectors of so many rows of dw; those behind the last one are that one again
    cdef Py_ssize_t row[4]
    cdef vec level[LEVELS * 4 * ACROSS]
    cdef vec sums[4 * ACROSS]
    cdef Py_ssize_t images = a.live if a.by_block else a.images, n
    cdef int i, j
    for i in range(rows):
        row[i] = min(k + i, last - 1) * LANES
    if images <= GROUP:
        group_sums(a, 0, images, row, column, sums, rows)
    else:
        for n in range((images + GROUP - 1) // GROUP):
            group_sums(a, n * GROUP, min(GROUP, images - n * GROUP), row, column, sums, rows)
            add_part(level, n, sums, rows * ACROSS)
        part_of(level, (images + GROUP - 1) // GROUP, sums, rows * ACROSS)
    for i in range(rows):
        for j in range(ACROSS):
            (<vec*> (<real*> a.dw + row[i] // LANES * a.C + column[j]))[0] = sums[i * ACROSS + j]


cdef void linear_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # A part of some rows of dw.  The last vector of features begins at C - LANES and may overlap its neighbour, so C must
    # be at least LANES.
    cdef const LinearWeight* a = <const LinearWeight*> args
    cdef Py_ssize_t columns = groups_of(a.C), parts = (columns + a.vectors - 1) // a.vectors
    cdef Py_ssize_t first = task // parts * a.channels, last = min(a.K, first + a.channels), k
    cdef Py_ssize_t q = task % parts * a.vectors, end = min(columns, q + a.vectors)
    cdef Py_ssize_t column[ACROSS]
    cdef int j
    while q < end:
        for j in range(ACROSS):
            column[j] = min(min(q + j, columns - 1) * LANES, a.C - LANES)
        k = first
        while k < last:
            if WIDE:
                weights_at(a, k, last, column, 4)
                k += 4
            else:
                weights_at(a, k, last, column, 2)
                k += 2
        q += ACROSS
