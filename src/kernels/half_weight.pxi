# Gradient to the weights: for each tap the product of two matrices over the pixels and pairs of images, the inner loop
# again.  The channels of one side are rows of scalars, pairs of images side by side; those of the other one are turned
# into the lanes, so that no lanes are left to be added up.

cdef enum:
    PAIRS = LANES // 2         # of the images of a block


cdef void image_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a group of LANES channels of a block
    cdef const HalfImages* a = <const HalfImages*> args
    cdef Py_ssize_t groups = groups_of(a.C), n = task // groups, first = task % groups * LANES, c, p, q
    cdef Py_ssize_t count = min(LANES, a.C - first), whole = (a.C + a.rows - 1) // a.rows * a.rows
    cdef mask counts = vec_first(a.live if n == a.N - 1 else LANES)
    cdef real* y
    cdef vec* turned
    cdef vec square[LANES]
    cdef SeenRow row[LANES]
    for c in range(LANES):
        row[c], square[c] = no_row(), VEC_ZERO
    if a.turned:
        turned = <vec*> a.y + task * a.P * a.Q * PAIRS
        for p in range(a.P):
            for c in range(count):
                row[c] = image_row(a, n, first + c, p)
            for q in range(a.Q):
                for c in range(LANES):
                    square[c] = vec_select(counts, seen(&row[c], q, a.step_w), VEC_ZERO)
                vec_turn(square)
                for c in range(PAIRS):
                    turned[c] = vec_pair(square[2 * c], square[2 * c + 1])
                turned += PAIRS
        return
    y = <real*> a.y + (n * whole + first) * a.P * a.Q * PAIRS
    for c in range(count):
        for p in range(a.P):
            row[0] = image_row(a, n, first + c, p)
            for q in range(a.Q):
                vec_store_halves(y, vec_select(counts, seen(&row[0], q, a.step_w), VEC_ZERO))
                y += PAIRS


cdef inline SeenRow image_row(const HalfImages* a, Py_ssize_t n, Py_ssize_t number, Py_ssize_t p) noexcept nogil:
    # what the tap of that number, of all channels, meets from row p on
    cdef Py_ssize_t taps = a.R * a.S
    cdef const real* x = <const real*> a.x + (n * (a.C // taps) + number // taps) * a.H * a.W * LANES
    return row_of(x, p * a.step_h + number % taps // a.S * a.gap_h - a.top, a.H, a.W, number % a.S * a.gap_w - a.left,
                  a.step_w, a.Q)


cdef long long half_weight_scratch(const void* args) noexcept nogil:
    # the arrays of `half_weight`
    cdef const HalfWeight* a = <const HalfWeight*> args
    cdef Py_ssize_t rows = a.C if a.across else a.K, groups = groups_of(a.K if a.across else a.C)
    return (rows * groups * <long long> sizeof(vec)
            + 2 * (groups + a.Q * PAIRS) * <long long> sizeof(Py_ssize_t))


cdef void half_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (block, tap)
    cdef const HalfWeight* a = <const HalfWeight*> args
    cdef Py_ssize_t taps = a.R * a.S, n = task // taps, r = task % taps
    cdef Py_ssize_t down = r // a.S * a.gap_h - a.top, right = r % a.S * a.gap_w - a.left
    cdef Py_ssize_t p = first_inside(down, a.step_h), p_last = last_inside(down, a.step_h, a.H, a.P)
    cdef Py_ssize_t q = first_inside(right, a.step_w), q_last = last_inside(right, a.step_w, a.W, a.Q)
    cdef Py_ssize_t rows = a.C if a.across else a.K, groups = groups_of(a.K if a.across else a.C), row, g
    cdef Py_ssize_t unit = min(<Py_ssize_t> MOST_PAIRS, <Py_ssize_t> (2 * PAIRS if a.step_w == 1 else PAIRS))
    cdef Py_ssize_t numbers = max(0, q_last - q) * PAIRS if p < p_last else 0  # in a row of pixels
    cdef Py_ssize_t x_first = ((p * a.step_h + down) * a.W + q * a.step_w + right) * PAIRS
    cdef Py_ssize_t dy_first = (p * a.Q + q) * PAIRS
    cdef vec* more = <vec*> scratch                                # (rows, groups)
    cdef vec* part = <vec*> a.parts + n * rows * groups * taps     # (rows, groups, taps)
    cdef Py_ssize_t* col = <Py_ssize_t*> (more + rows * groups)
    cdef Py_ssize_t* out_col = col + groups
    cdef Py_ssize_t* inner = out_col + groups
    cdef Tile t
    cdef int shape = best_tile(rows, groups, 2, 16)
    memset(&t, 0, sizeof(t))
    t.outer, t.cols, t.unit = p_last - p, groups, unit
    t.vector_col, t.out_col = col, out_col
    t.scalar_row_step = t.line = (a.H * a.W if a.across else a.P * a.Q) * PAIRS
    for g in range(groups):
        col[g] = g * (a.P * a.Q if a.across else a.H * a.W) * PAIRS * LANES
        out_col[g] = g * taps * LANES
    t.out, t.out_row_step = <real*> (part + r), groups * taps * LANES
    if a.across:
        t.scalar = <const real*> a.x + n * ((rows + ROWS - 1) // ROWS * ROWS) * t.line + x_first
        t.vector = <const real*> a.dy + (n * groups * a.P * a.Q * PAIRS + dy_first) * LANES
        t.scalar_outer_step, t.vector_outer_step = a.step_h * a.W * PAIRS, a.Q * PAIRS * LANES
    else:
        t.scalar = <const real*> a.dy + n * ((rows + ROWS - 1) // ROWS * ROWS) * t.line + dy_first
        t.vector = <const real*> a.x + (n * groups * a.H * a.W * PAIRS + x_first) * LANES
        t.scalar_outer_step, t.vector_outer_step = a.Q * PAIRS, a.step_h * a.W * PAIRS * LANES
    t.scalar_inner, t.vector_inner = inner, inner + a.Q * PAIRS
    t.inner = terms_of(a, 0, numbers // unit, unit, inner)
    if t.inner or not numbers:
        run_tiles(&t, 0, rows, shape)
    if numbers % unit == 0:
        return
    t.unit = numbers % unit  # the last pixel
    if t.inner:
        for g in range(groups):
            out_col[g] = g * LANES
        t.out, t.out_row_step = <real*> more, groups * LANES
    row = t.inner
    t.inner = terms_of(a, numbers - t.unit, 1, t.unit, inner)
    run_tiles(&t, 0, rows, shape)
    if row:
        for row in range(rows):
            for g in range(groups):
                part[(row * groups + g) * taps + r] += more[row * groups + g]


cdef inline Py_ssize_t terms_of(const HalfWeight* a, Py_ssize_t first, Py_ssize_t count, Py_ssize_t unit,
                                Py_ssize_t* inner) noexcept nogil:
    # where so many terms of a row of pixels lie, from a number on; returns how many there are
    cdef Py_ssize_t i, given, seen
    for i in range(count):
        given = first + i * unit
        seen = given // PAIRS * a.step_w * PAIRS + given % PAIRS
        inner[i] = seen if a.across else given
        inner[a.Q * PAIRS + i] = (given if a.across else seen) * LANES
    return count
