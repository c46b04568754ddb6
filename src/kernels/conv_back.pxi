# What a convolution has of its own on the way back: the rotated kernel, and the gradient to the weights.

cdef void turn(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # The kernel of the gradient to the input, laid out as the forward pass likes it.  A task is an
    # input channel of a group.
    cdef const Turn* a = <const Turn*> args
    cdef Py_ssize_t g = task // a.C, c = task % a.C, k, t
    cdef const real* w
    cdef real* u
    for k in range(a.K):
        w = <const real*> a.w + ((g * a.K + k) * a.C + c) * a.taps
        u = <real*> a.u + ((g * a.C + c) * a.K + k) * a.taps
        for t in range(a.taps):
            u[t] = w[a.taps - 1 - t]


# Gradient to the weights.  One task: some tiles of output channels x taps of one kernel row, the taps
# counted through (c, s).  They take turns, some rows of dy at a time, which so lie in the first-level
# cache for all of them; a tile keeps its sums meanwhile.  Rows where a tap falls outside the input are
# left out; in columns, which several taps share, it meets zeros, and what a NaN or an infinity makes of
# these is done again.

cdef enum:
    MOST_TILES = 10            # of a task
    NEAR = 36864               # bytes of dy that stay near for all of them


cdef vec tap_sum(const real* x, const real* dy, Py_ssize_t H, Py_ssize_t W, Py_ssize_t P, Py_ssize_t Q,
                 Py_ssize_t step_h, Py_ssize_t step_w, Py_ssize_t down,
                 Py_ssize_t right) noexcept nogil:
    # the sum of dy times the pixels inside that a tap sees, of one channel each; the first output has
    # the tap at (down, right)
    cdef vec a = VEC_ZERO, b = VEC_ZERO, c = VEC_ZERO, d = VEC_ZERO
    cdef Py_ssize_t first = first_inside(right, step_w), last = last_inside(right, step_w, W, Q), p, q
    cdef Py_ssize_t step = step_w * LANES
    cdef const real* here
    cdef const real* there
    for p in range(first_inside(down, step_h), last_inside(down, step_h, H, P)):
        here = dy + (p * Q + first) * LANES
        there = x + ((p * step_h + down) * W + first * step_w + right) * LANES
        q = first
        while q + 4 <= last:  # four sums, none of which waits for another
            a += (<const vec*> here)[0] * (<const vec*> there)[0]
            b += (<const vec*> (here + LANES))[0] * (<const vec*> (there + step))[0]
            c += (<const vec*> (here + 2 * LANES))[0] * (<const vec*> (there + 2 * step))[0]
            d += (<const vec*> (here + 3 * LANES))[0] * (<const vec*> (there + 3 * step))[0]
            here += 4 * LANES
            there += 4 * step
            q += 4
        while q < last:
            a += (<const vec*> here)[0] * (<const vec*> there)[0]
            here += LANES
            there += step
            q += 1
    return (a + b) + (c + d)


cdef real weight_again(const ConvWeight* a, Py_ssize_t n, Py_ssize_t g, Py_ssize_t r, Py_ssize_t k, Py_ssize_t t,
                       Py_ssize_t live) noexcept nogil:
    # one number of dw, without any pixel outside
    cdef Py_ssize_t c = g * a.C + t // a.S
    return vec_sum_first(tap_sum(<const real*> a.x + (n * a.G * a.C + c) * a.H * a.W * LANES,
                                 <const real*> a.dy + ((n * a.G + g) * a.K + k) * a.P * a.Q * LANES,
                                 a.H, a.W, a.P, a.Q, a.step_h, a.step_w, r * a.gap_h - a.top,
                                 t % a.S * a.gap_w - a.left), live)


cdef struct WeightTaps:
    # of the columns of a tile: shift and channel in x, where they are in dw[g, k]; the rows of y
    # whose taps are inside, and the columns of which all are
    Py_ssize_t shift[8]
    Py_ssize_t channel[8]
    Py_ssize_t weight[8]
    Py_ssize_t offset, p_first, p_last, q_first, q_last


cdef void weight_columns(const ConvWeight* a, Py_ssize_t g, Py_ssize_t r, Py_ssize_t t0, int cols,
                         WeightTaps* taps) noexcept nogil:
    cdef Py_ssize_t c = t0 // a.S, s = t0 % a.S, least = s * a.gap_w - a.left, most = least
    cdef int j
    taps.offset = r * a.gap_h - a.top
    taps.p_first = first_inside(taps.offset, a.step_h)
    taps.p_last = last_inside(taps.offset, a.step_h, a.H, a.P)
    for j in range(cols):
        taps.shift[j] = s * a.gap_w - a.left
        taps.channel[j] = g * a.C + c
        taps.weight[j] = (c * a.R + r) * a.S + s
        least = min(least, taps.shift[j])
        most = max(most, taps.shift[j])
        if s + 1 < a.S:
            s += 1
        elif c + 1 < a.C:  # the last tap fills the rest of the tile
            s = 0
            c += 1
    taps.q_first = first_inside(least, a.step_w)
    taps.q_last = last_inside(most, a.step_w, a.W, a.Q)


cdef inline void weight_tile(const ConvWeight* a, const WeightTaps* taps, Py_ssize_t n, Py_ssize_t g, Py_ssize_t k0,
                             Py_ssize_t p_first, Py_ssize_t p_last, vec* sums, int rows, int cols) noexcept nogil:
    # what the rows of dy add to the sums, for each lane
    cdef vec acc[8][8]
    cdef vec here[8]
    cdef const real* x[8]
    cdef const real* dy[8]
    cdef vec dy_here
    cdef Py_ssize_t shift[8]
    cdef Py_ssize_t p, q, w, q_first = taps.q_first, q_last = taps.q_last, step = a.step_w
    cdef int i, j
    if rows > 8:  # a tile that is never chosen
        return
    for j in range(cols):
        shift[j] = taps.shift[j]
    for i in range(rows):
        for j in range(cols):
            acc[i][j] = sums[i * cols + j]
    for i in range(rows):
        dy[i] = <const real*> a.dy + LANES * a.Q * (
            ((n * a.G + g) * a.K + min(k0 + i, a.K - 1)) * a.P + p_first)
    for j in range(cols):
        x[j] = <const real*> a.x + LANES * (shift[j] + a.W * (
            (n * a.G * a.C + taps.channel[j]) * a.H + p_first * a.step_h + taps.offset))
    for p in range(p_first, p_last):
        q = w = 0
        while True:
            if q == q_first:
                while q < q_last:
                    for j in range(cols):
                        here[j] = (<const vec*> (x[j] + LANES * w))[0]
                    for i in range(rows):
                        dy_here = (<const vec*> (dy[i] + LANES * q))[0]
                        for j in range(cols):
                            acc[i][j] += dy_here * here[j]
                    q += 1
                    w += step
            if q >= a.Q:
                break
            for j in range(cols):
                here[j] = VEC_ZERO
                if 0 <= w + shift[j] < a.W:
                    here[j] = (<const vec*> (x[j] + LANES * w))[0]
            for i in range(rows):
                dy_here = (<const vec*> (dy[i] + LANES * q))[0]
                for j in range(cols):
                    acc[i][j] += dy_here * here[j]
            q += 1
            w += step
        for i in range(rows):
            dy[i] += LANES * a.Q
        for j in range(cols):
            x[j] += LANES * a.W * a.step_h
    for i in range(rows):
        for j in range(cols):
            sums[i * cols + j] = acc[i][j]


cdef void rows_of_tile(const ConvWeight* a, const WeightTaps* taps, Py_ssize_t n, Py_ssize_t g, Py_ssize_t k0,
                      Py_ssize_t p0, Py_ssize_t p1, vec* sums, int shape) noexcept nogil:
    # rows p0..p1-1 of dy, if the taps see them
    p0 = max(p0, taps.p_first)
    p1 = min(p1, taps.p_last)
    if p0 >= p1:
        return
    if shape == 0:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS0, COLS0)
    elif shape == 1:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS1, COLS1)
    elif shape == 2:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS2, COLS2)
    elif shape == 3:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS3, COLS3)
    elif shape == 4:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS4, COLS4)
    elif shape == 5:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS5, COLS5)
    elif shape == 6:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS6, COLS6)
    elif shape == 7:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS7, COLS7)
    elif shape == 8:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS8, COLS8)
    elif shape == 9:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS9, COLS9)
    elif shape == 10:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS10, COLS10)
    elif shape == 11:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS11, COLS11)
    elif shape == 12:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS12, COLS12)
    elif shape == 13:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS13, COLS13)
    else:
        weight_tile(a, taps, n, g, k0, p0, p1, sums, ROWS14, COLS14)


cdef void conv_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (block, g, tile of K, tiles of taps); of these the rows r are the fastest: neighbours share x
    cdef const ConvWeight* a = <const ConvWeight*> args
    cdef int shape = a.shape, rows = TILE_ROWS[shape], cols = TILE_COLS[shape]
    cdef Py_ssize_t tiles = (a.C * a.S + cols - 1) // cols * a.R, down = (a.K + rows - 1) // rows
    cdef Py_ssize_t cuts = (tiles + a.tiles - 1) // a.tiles, first = task % cuts * a.tiles
    cdef Py_ssize_t count = min(a.tiles, tiles - first), k0 = task // cuts % down * rows
    cdef Py_ssize_t g = task // cuts // down % a.G, n = task // cuts // down // a.G
    cdef Py_ssize_t live = a.live if n == a.N - 1 else LANES, each = a.C * a.R * a.S
    cdef Py_ssize_t some = max(1, NEAR // (rows * max(1, a.Q) * <Py_ssize_t> sizeof(vec))), p, t
    cdef vec* sums = <vec*> scratch
    cdef WeightTaps* taps = <WeightTaps*> (sums + MOST_TILES * 64)
    cdef real* dw = <real*> a.dw + ((n * a.G + g) * a.K + k0) * each
    cdef mask counts
    cdef real total
    cdef bint edges
    cdef int i, j, down_here = <int> min(rows, a.K - k0), across_here
    for t in range(count):
        weight_columns(a, g, (first + t) % a.R, (first + t) // a.R * cols, cols, &taps[t])
    for t in range(count * rows * cols):
        sums[t] = VEC_ZERO
    p = 0
    while p < a.P:
        for t in range(count):
            rows_of_tile(a, &taps[t], n, g, k0, p, min(p + some, a.P), sums + t * rows * cols, shape)
        p += some
    if live < LANES:
        counts = vec_first(live)
        for t in range(count * rows * cols):
            sums[t] = vec_select(counts, sums[t], -VEC_ZERO)
    vec_sum_all(sums, <int> count * rows * cols)
    for t in range(count):
        edges = taps[t].q_first > 0 or taps[t].q_last < a.Q
        across_here = <int> min(cols, a.C * a.S - (first + t) // a.R * cols)
        for i in range(down_here):
            for j in range(across_here):
                total = (<const real*> sums)[(t * rows + i) * cols + j]
                if edges and total - total != 0:
                    total = weight_again(a, n, g, (first + t) % a.R, k0 + i, (first + t) // a.R * cols + j, live)
                dw[i * each + taps[t].weight[j]] = total


cdef long long conv_weight_scratch(const void* args) noexcept nogil:
    return MOST_TILES * (64 * sizeof(vec) + sizeof(WeightTaps))


cdef Py_ssize_t conv_weight_tasks(void* args) noexcept nogil:
    # of a block.  Chooses the tile and how many a task has.  Every operand is a whole vector here, and many rows of dy at
    # a distance of a power of two would drive each other out of the first-level cache.
    cdef ConvWeight* a = <ConvWeight*> args
    a.shape = best_tile(a.K, a.C * a.S, 5, 8)
    cdef Py_ssize_t down = (a.K + TILE_ROWS[a.shape] - 1) // TILE_ROWS[a.shape]
    cdef Py_ssize_t tiles = (a.C * a.S + TILE_COLS[a.shape] - 1) // TILE_COLS[a.shape] * a.R
    a.tiles = max(1, min(MOST_TILES, tiles))  # two threads find work
    return a.G * down * ((tiles + a.tiles - 1) // a.tiles)
