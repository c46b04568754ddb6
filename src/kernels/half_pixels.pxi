# From float32 to pairs of bfloat16 for one image, whose lanes are channels.

cdef enum:
    HALF = LANES // 2          # pairs of the channels of a vector


cdef inline Py_ssize_t pieces_of(const PixelPairs* a) noexcept nogil:
    # of HALF pairs each
    return (a.groups * a.width + HALF - 1) // HALF


cdef long long pixel_scratch(const void* args) noexcept nogil:
    # all pairs of a pixel
    return pieces_of(<const PixelPairs*> args) * <long long> (HALF * sizeof(real))


cdef void pixel_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a row of y
    cdef const PixelPairs* a = <const PixelPairs*> args
    cdef Py_ssize_t pieces = pieces_of(a), blocks = (a.C + LANES - 1) // LANES
    cdef Py_ssize_t group = a.ways_h * a.ways_w * a.down * a.across * a.width, piece, g, j, q, w
    cdef Py_ssize_t h = task % a.down * a.step_h + task // a.down * a.gap_h % a.step_h
    cdef bint whole = a.width % HALF == 0 and a.C % LANES == 0 and pieces == blocks
    cdef mask counts = vec_first(a.C - (blocks - 1) * LANES)
    cdef real* line = <real*> scratch
    cdef real* y
    cdef const real* x
    cdef vec value
    for j in range(a.ways_w):
        y = <real*> a.y + ((task // a.down * a.ways_w + j) * a.down + task % a.down) * a.across * a.width
        for q in range(a.across):
            w = q * a.step_w + j * a.gap_w % a.step_w
            x = <const real*> a.x + h * a.x_row + w * LANES
            if h >= a.H or w >= a.W:
                for g in range(a.groups):
                    memset(y + g * group, 0, a.width * sizeof(real))
            elif whole:
                for g in range(a.groups):
                    for piece in range(a.width // HALF):
                        vec_store_halves(y + g * group + piece * HALF, (<const vec*> x)[0])
                        x += a.x_plane
            else:
                for piece in range(pieces):
                    value = VEC_ZERO
                    if piece < blocks:
                        value = (<const vec*> (x + piece * a.x_plane))[0]
                    if piece == blocks - 1:
                        value = vec_select(counts, value, VEC_ZERO)
                    vec_store_halves(line + piece * HALF, value)
                for g in range(a.groups):
                    memcpy(y + g * group, line + g * a.width, a.width * sizeof(real))
            y += a.width


cdef inline vec numbers_at(const PixelTaps* a, const real* row, Py_ssize_t number, Py_ssize_t count) noexcept nogil:
    # one of those of each of `count` neighbouring pixels
    cdef real lane[LANES]
    cdef Py_ssize_t i
    if number >= a.count:
        return VEC_ZERO
    row += a.place[number]
    if a.x_pixel == 1 and count == LANES:
        return (<const vec*> row)[0]
    for i in range(LANES):
        lane[i] = row[min(i, count - 1) * a.x_pixel]
    return (<const vec*> lane)[0]


cdef void pixel_taps(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # A task is a row of y.  So many pairs of LANES pixels are a square that is turned; the last ones of a row may overlap.
    cdef const PixelTaps* a = <const PixelTaps*> args
    cdef Py_ssize_t count = min(<Py_ssize_t> LANES, a.Q), q = 0, g, j, i, first
    cdef const real* x
    cdef real* y
    cdef vec square[LANES]
    while q < a.Q:
        q = min(q, a.Q - count)
        x = <const real*> a.x + task * a.x_row + q * a.x_pixel
        for g in range(a.groups):
            j = 0
            while j < a.width:
                y = <real*> a.y + ((g * a.P + task) * a.Q + q) * a.width + j
                for i in range(LANES):
                    first = 2 * (g * a.width + j + i)
                    square[i] = vec_pair(numbers_at(a, x, first, count), numbers_at(a, x, first + 1, count))
                vec_turn(square)
                for i in range(count):
                    vec_store_first(y + i * a.width, square[i], <int> min(<Py_ssize_t> LANES, a.width - j))
                j += LANES
        q += count


cdef inline void take_channels(const HalfChannels* a, Tile* t) noexcept nogil:
    # what the convolutions have in common
    memset(t, 0, sizeof(t[0]))
    t.outer, t.inner, t.scalar_inner = a.units, a.taps, a.tap
    t.scalar_outer_step, t.vector_outer_step = a.x_unit, a.taps * a.unit * LANES
    t.scalar, t.vector = <const real*> a.x, <const real*> a.w
    t.clip, t.low, t.high = a.clip, <real> a.low, <real> a.high
