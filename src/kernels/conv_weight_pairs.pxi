# The gradient to the weights where pixels are few and channels many.  For each tap there is a list of pairs, a pixel of
# dy and the pixel of x that the tap sees from there, and over pairs and images the gradient is a product of matrices,
# the inner loop of `tile.pxi`: the channels of one side are rows of scalars, as they are; those of the other one are
# turned into the lanes, where images were.  So no lanes are left to be added up, which takes longer than few pixels do.
# A task is a strip of columns of one block of images; parts are laid out as in `winograd_weight.pxi`.

cdef struct Pairs:
    Py_ssize_t rows, cols      # channels
    Py_ssize_t row_pixels, col_pixels
    Py_ssize_t groups, strips  # of LANES columns a strip, and how many of these
    bint gradients_across      # the columns are channels of dy


cdef inline Pairs pairs_of(const ConvWeight* a) noexcept nogil:
    cdef Pairs s
    s.gradients_across = fewer_lanes_are_empty(a.K, a.C)
    s.rows = a.C if s.gradients_across else a.K
    s.cols = a.K if s.gradients_across else a.C
    s.row_pixels = a.H * a.W if s.gradients_across else a.P * a.Q
    s.col_pixels = a.P * a.Q if s.gradients_across else a.H * a.W
    s.groups = min(STRIP // LANES, groups_of(s.cols))
    s.strips = (groups_of(s.cols) + s.groups - 1) // s.groups
    return s


cdef Py_ssize_t conv_weight_pairs_tasks(void* args) noexcept nogil:
    # of a block
    return pairs_of(<const ConvWeight*> args).strips


cdef long long conv_weight_pairs_scratch(const void* args) noexcept nogil:
    # the arrays of `conv_weight_pairs`
    cdef const ConvWeight* a = <const ConvWeight*> args
    cdef Pairs s = pairs_of(a)
    return ((s.groups * s.col_pixels * LANES + s.rows * s.groups) * <long long> sizeof(vec)
            + 2 * (s.groups + a.P * a.Q * LANES) * <long long> sizeof(Py_ssize_t))


cdef void conv_weight_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ConvWeight* a = <const ConvWeight*> args
    cdef Pairs s = pairs_of(a)
    cdef Py_ssize_t n = task // s.strips, first = task % s.strips * s.groups, all = groups_of(s.cols)
    cdef Py_ssize_t taps = a.R * a.S, groups = min(s.groups, all - first), live = a.live if n == a.N - 1 else LANES
    cdef Py_ssize_t images, image, r, g, l, i, row, each = min(SET, LANES)
    cdef vec* turned = <vec*> scratch                              # (groups, pixels, LANES images)
    cdef vec* more = turned + s.groups * s.col_pixels * LANES      # (rows, groups)
    cdef vec* part = <vec*> a.dw + n * s.rows * all * taps         # (rows, all groups, taps)
    cdef Py_ssize_t* table = <Py_ssize_t*> (more + s.rows * s.groups)
    cdef Py_ssize_t* inner = table + 2 * s.groups
    cdef const real* across = <const real*> a.x
    cdef const real* down = <const real*> a.dy
    cdef Tile t
    cdef int shape = best_tile(s.rows, groups, 2, 16)
    memset(&t, 0, sizeof(t))
    if s.gradients_across:
        across, down = down, across
    across += n * s.cols * s.col_pixels * LANES
    t.scalar = down + n * s.rows * s.row_pixels * LANES
    t.vector = <const real*> turned
    t.cols, t.outer = groups, 1
    t.scalar_row_step = s.row_pixels * LANES
    t.vector_col = table
    for g in range(groups):
        table[g] = g * s.col_pixels * LANES * LANES
        for i in range(s.col_pixels):
            for l in range(LANES):
                row = (first + g) * LANES + l
                turned[(g * s.col_pixels + i) * LANES + l] = VEC_ZERO
                if row < s.cols:
                    turned[(g * s.col_pixels + i) * LANES + l] = (
                        <const vec*> (across + (row * s.col_pixels + i) * LANES))[0]
            vec_turn(turned + (g * s.col_pixels + i) * LANES)
    for r in range(taps):
        image = 0
        while image < live:
            images = min(each, live - image)
            t.out_col = table + s.groups
            for g in range(groups):
                table[s.groups + g] = (g if image else (first + g) * taps) * LANES
            t.out = <real*> (more if image else part + r)
            t.out_row_step = (groups if image else all * taps) * LANES
            t.vector_inner = inner
            t.scalar_inner = inner + a.P * a.Q * LANES
            t.inner = pairs_at(a, &s, r // a.S, r % a.S, image, images, inner, inner + a.P * a.Q * LANES)
            run_tiles(&t, 0, s.rows, shape)
            if image:
                for row in range(s.rows):
                    for g in range(groups):
                        part[(row * all + first + g) * taps + r] += more[row * groups + g]
            image += each


cdef inline Py_ssize_t pairs_at(const ConvWeight* a, const Pairs* s, Py_ssize_t r, Py_ssize_t c, Py_ssize_t image,
                                Py_ssize_t images, Py_ssize_t* vectors, Py_ssize_t* scalars) noexcept nogil:
    # where the pairs of a tap lie, for so many images from `image` on; returns how many there are in all
    cdef Py_ssize_t down = r * a.gap_h - a.top, right = c * a.gap_w - a.left, p, q, l, seen, given, count = 0
    for p in range(first_inside(down, a.step_h), last_inside(down, a.step_h, a.H, a.P)):
        for q in range(first_inside(right, a.step_w), last_inside(right, a.step_w, a.W, a.Q)):
            given = p * a.Q + q
            seen = (p * a.step_h + down) * a.W + q * a.step_w + right
            if s.gradients_across:
                given, seen = seen, given
            for l in range(image, image + images):
                vectors[count] = (seen * LANES + l) * LANES
                scalars[count] = given * LANES + l
                count += 1
    return count
