# Winograd's minimal filtering F(4 x 4, R x R) for kernels of R = 3 or 5 and stride 1 (Lavin and Gray,
# "Fast Algorithms for Convolutional Neural Networks", 2015).  A line of 4 outputs of an R-tap filter
# takes n = R + 3 products instead of 4 R: both are seen as polynomials, evaluated at n points,
# multiplied there, and the product's coefficients found again.  In two dimensions
#
#     Y = A' [(G g G') . (B' d B)] A,   36 products instead of 144 (R = 3), 64 instead of 400 (R = 5),
#
# elementwise in the lanes, so that each of the n x n frequencies is a product of matrices over the
# channels: the inner loop of `tile.pxi` again.  The points are 0, pairs 1, -1, 2, -2 (and 1/2, -1/2),
# and infinity.  A task is a run of tiles of one block: transform their inputs, multiply, transform
# back; its pieces have some of the output channels each.  Of a tile that hangs over the edge, the last line
# of frequencies is left out: it belongs to the point at infinity, of which only the last of the 4 outputs
# hears.

cdef inline real power(int pair, int exponent) noexcept nogil:
    # of the positive point of a pair; the compiler knows both
    cdef real base = <real> 1 if pair == 0 else <real> 2 if pair == 1 else <real> 0.5
    cdef real product = 1
    for _ in range(exponent):
        product = product * base
    return product


cdef inline real share(int pair, int n) noexcept nogil:
    # 1 / the product of the differences to all other points
    if n == 6:
        return <real> (-1.0 / 6) if pair == 0 else <real> (1.0 / 24)
    return <real> (-2.0 / 9) if pair == 0 else <real> (1.0 / 90) if pair == 1 else <real> (32.0 / 45)


cdef inline void input_line(const vec* d, vec* y, int step, int n) noexcept nogil:
    # y = B' d for n values; y goes in steps
    cdef vec even, odd
    if n == 6:
        y[0] = vec_times(d[0], vec_all(4)) - 5 * d[2] + d[4]
        y[5 * step] = vec_times(d[1], vec_all(4)) - 5 * d[3] + d[5]
        even = d[4] - 4 * d[2]
        odd = d[3] - 4 * d[1]
        y[step] = even + odd
        y[2 * step] = even - odd
        even = d[4] - d[2]
        odd = 2 * (d[3] - d[1])
        y[3 * step] = even + odd
        y[4 * step] = even - odd
        return
    y[0] = d[0] - d[6] + (d[4] - d[2]) * <real> 5.25
    y[7 * step] = d[7] - d[1] + (d[3] - d[5]) * <real> 5.25
    even = d[2] + d[6] - d[4] * <real> 4.25
    odd = d[1] + d[5] - d[3] * <real> 4.25
    y[step] = even + odd
    y[2 * step] = even - odd
    even = d[6] + d[2] * <real> 0.25 - d[4] * <real> 1.25
    odd = vec_times(d[5], vec_all(2)) - d[3] * <real> 2.5 + d[1] * <real> 0.5
    y[3 * step] = even + odd
    y[4 * step] = even - odd
    even = d[6] + d[2] * <real> 4 - d[4] * <real> 5
    odd = vec_times(d[5], vec_all(0.5)) - d[3] * <real> 2.5 + d[1] * <real> 2
    y[5 * step] = even + odd
    y[6 * step] = even - odd


cdef inline void output_line(const vec* m, vec* y, int step, int n, int outputs) noexcept nogil:
    # y = A' m for n values; `outputs` results, in steps
    cdef vec total[5]
    cdef vec even, odd
    cdef int pair, j
    for j in range(outputs):
        total[j] = VEC_ZERO
    total[0] = m[0]
    total[outputs - 1] += m[n - 1]
    for pair in range(n // 2 - 1):
        even = m[2 * pair + 1] + m[2 * pair + 2]
        odd = m[2 * pair + 1] - m[2 * pair + 2]
        for j in range(outputs):
            total[j] += (odd if j % 2 else even) * power(pair, j)
    for j in range(outputs):
        y[j * step] = total[j]


cdef inline void filter_line(const vec* g, vec* y, int step, int n, int taps) noexcept nogil:
    # y = G g for so many taps; n results, in steps
    cdef vec even, odd
    cdef int pair, j
    y[0] = g[0] * <real> (0.25 if n == 6 else 1)
    y[(n - 1) * step] = g[taps - 1]
    for pair in range(n // 2 - 1):
        even = odd = VEC_ZERO
        for j in range(taps):
            if j % 2:
                odd += g[j] * (power(pair, j) * share(pair, n))
            else:
                even += g[j] * (power(pair, j) * share(pair, n))
        y[(2 * pair + 1) * step] = even + odd
        y[(2 * pair + 2) * step] = even - odd


cdef inline void filter_square(const vec* g, vec* u, Py_ssize_t step, int n, int taps) noexcept nogil:
    # u = G g G' for taps x taps values (in rows of taps); u goes in steps
    cdef vec line[8]
    cdef vec half[64]
    cdef int i, j
    for j in range(taps):
        for i in range(taps):
            line[i] = g[i * taps + j]
        filter_line(line, &half[j], taps, n, taps)
    for i in range(n):
        filter_line(&half[i * taps], line, 1, n, taps)
        for j in range(n):
            u[(i * n + j) * step] = line[j]


cdef inline void filters(const WinogradFilter* a, Py_ssize_t first, int n) noexcept nogil:
    cdef int taps = n - 3, count = <int> min(LANES, a.K - first), i, l
    cdef Py_ssize_t step = groups_of(a.K) * a.C * LANES, c
    cdef const real* w
    cdef real* u = <real*> a.u + first * a.C
    cdef real column[25][LANES]
    cdef vec g[25]
    cdef vec y[64]
    for c in range(a.C):
        for l in range(count):
            w = <const real*> a.w + (first + l) * a.w_k + c * a.w_c
            for i in range(taps * taps):
                column[i][l] = w[taps * taps - 1 - i if a.rotate else i]
        for i in range(taps * taps):
            g[i] = vec_load_part(column[i], count)
        filter_square(g, y, 1, n, taps)
        for i in range(n * n):
            vec_store_part(u + i * step + c * LANES, y[i], LANES)


cdef void winograd_filter(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # u[frequency, task, c, lane]: the lanes are output channels, of which a task has one group
    cdef const WinogradFilter* a = <const WinogradFilter*> args
    if a.taps == 3:
        filters(a, task * LANES, 6)
    else:
        filters(a, task * LANES, 8)


cdef inline void input_pixels(const real* x, Py_ssize_t row, Py_ssize_t H, Py_ssize_t W, Py_ssize_t h, Py_ssize_t w,
                              vec* v, Py_ssize_t step, int n, bint inside) noexcept nogil:
    cdef vec half[64]
    cdef vec line[8]
    cdef const real* here
    cdef int i, j
    for j in range(n):
        for i in range(n):
            here = x + (h + i) * row + (w + j) * LANES
            if not inside and not (0 <= h + i < H and 0 <= w + j < W):
                here = NOTHING
            line[i] = (<const vec*> here)[0]
        input_line(line, &half[j], n, n)
    for i in range(n):
        input_line(&half[i * n], line, 1, n)
        for j in range(n):
            v[(i * n + j) * step] = line[j]


cdef inline void input_values(const real* x, Py_ssize_t row, Py_ssize_t H, Py_ssize_t W, Py_ssize_t h, Py_ssize_t w,
                              vec* v, Py_ssize_t step, int n) noexcept nogil:
    if h >= 0 and w >= 0 and h + n <= H and w + n <= W:
        input_pixels(x, row, H, W, h, w, v, step, n, True)
    else:
        input_pixels(x, row, H, W, h, w, v, step, n, False)


cdef void input_square(const real* x, Py_ssize_t row, Py_ssize_t H, Py_ssize_t W, Py_ssize_t h, Py_ssize_t w,
                       vec* v, Py_ssize_t step, int n) noexcept nogil:
    # v = B' d B of the n x n pixels from (h, w) on, zero outside; rows are `row` numbers apart, v goes in steps.  The
    # compiler must know n, but not each caller needs code of its own for that.
    if n == 6:
        input_values(x, row, H, W, h, w, v, step, 6)
    else:
        input_values(x, row, H, W, h, w, v, step, 8)


cdef inline void output_values(const vec* m, Py_ssize_t step, vec* y, int n, int outputs, int over) noexcept nogil:
    cdef vec half[40]
    cdef vec line[8]
    cdef int i, j
    for j in range(n):
        for i in range(n):
            line[i] = m[(i * n + j) * step]
            if i == n - 1 and over & 1 or j == n - 1 and over & 2:
                line[i] = VEC_ZERO
        output_line(line, &half[j], n, n, outputs)
    for i in range(outputs):
        output_line(&half[i * n], &y[i * outputs], 1, n, outputs)


cdef void output_square(const vec* m, Py_ssize_t step, vec* y, int n, int outputs, int over) noexcept nogil:
    # y = A' m A, outputs x outputs values; m comes in steps, without the frequencies of infinity where the tile hangs
    # `over` (see `needed_tiles`)
    if n == 6:
        if outputs == 4:
            output_values(m, step, y, 6, 4, over)
        else:
            output_values(m, step, y, 6, 3, 0)
    elif outputs == 4:
        output_values(m, step, y, 8, 4, over)
    else:
        output_values(m, step, y, 8, 5, 0)


cdef inline Py_ssize_t odd_step(Py_ssize_t vectors) noexcept nogil:
    # vectors from frequency to frequency, so that those of one tile do not meet in a few sets of the cache
    return vectors | 1


cdef inline int hangs_over(Py_ssize_t tile, Py_ssize_t P, Py_ssize_t Q) noexcept nogil:
    # the edge below: 1; that on the right: 2; the sum: both
    cdef Py_ssize_t across = (Q + 3) // 4
    return (tile // across * 4 + 4 > P) + 2 * (tile % across * 4 + 4 > Q)


cdef inline int infinite(int frequency, int n) noexcept nogil:
    # whether its point is at infinity downwards, to the right, or both, numbered likewise
    return (frequency // n == n - 1) + 2 * (frequency % n == n - 1)


cdef void needed_tiles(Py_ssize_t P, Py_ssize_t Q, Py_ssize_t first, Py_ssize_t count, Py_ssize_t* tiles,
                       Py_ssize_t* counts) noexcept nogil:
    # of so many tiles from `first` on those, counted from there, that need the frequencies of each of four kinds
    cdef Py_ssize_t t
    cdef int kind, over
    memset(tiles, 0, 4 * count * sizeof(tiles[0]))  # what is left of a list is multiplied too
    for kind in range(4):
        counts[kind] = 0
    for t in range(count):
        over = hangs_over(first + t, P, Q)
        for kind in range(4):
            if not kind & over:
                tiles[kind * count + counts[kind]] = t
                counts[kind] += 1


cdef long long winograd_scratch(const void* args) noexcept nogil:
    # v, m and the tables of `winograd`: tiles of four kinds, channels of v and u, rows of u and m
    cdef const Winograd* a = <const Winograd*> args
    cdef long long vectors = odd_step(a.C * a.chunk) + odd_step(a.K * a.chunk)
    return ((a.taps + 3) * (a.taps + 3) * vectors * sizeof(vec)
            + sizeof(Py_ssize_t) * (4 * a.chunk + 2 * a.C + 2 * a.K))


cdef void winograd(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # The scalars are transformed weights, a row for each output channel; the vectors are transformed pixels, a
    # column for each tile.  Of the rows, those of a group lie side by side: so the weights, which are too many for the
    # nearer caches, are read in the order of memory.
    cdef const Winograd* a = <const Winograd*> args
    cdef Py_ssize_t across = (a.Q + 3) // 4, tiles = (a.P + 3) // 4 * across
    cdef Py_ssize_t chunks = (tiles + a.chunk - 1) // a.chunk
    cdef Py_ssize_t piece = task % a.cut, k0 = a.K * piece // a.cut, k1 = a.K * (piece + 1) // a.cut
    cdef Py_ssize_t block = task // a.cut // chunks, first = task // a.cut % chunks * a.chunk
    cdef Py_ssize_t count = min(a.chunk, tiles - first), c, k, t, p, q, i, j
    cdef Py_ssize_t u_step = groups_of(a.K) * a.C * LANES
    cdef Py_ssize_t v_step = odd_step(a.C * count), m_step = odd_step(a.K * count)
    cdef int n = a.taps + 3, shape = 0, kind
    cdef vec* v = <vec*> scratch              # (n * n, C, count)
    cdef vec* m = v + n * n * v_step          # (n * n, K, count)
    cdef Py_ssize_t* cols = <Py_ssize_t*> (m + n * n * m_step)
    cdef Py_ssize_t* inner = cols + 4 * count
    cdef Py_ssize_t* rows = inner + 2 * a.C
    cdef Py_ssize_t counts[4]
    cdef const real* x
    cdef real* y
    cdef vec bias, total, lost = VEC_ZERO
    cdef vec square[16]
    cdef Tile product
    for c in range(a.C):
        x = <const real*> a.x + (block * a.C + c) * a.H * a.W * LANES
        for t in range(count):
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            if n == 6:  # here and below, values of squares that are frequent stay in registers
                input_values(x, a.W * LANES, a.H, a.W, p - a.top, q - a.left, v + c * count + t, v_step, 6)
            else:
                input_square(x, a.W * LANES, a.H, a.W, p - a.top, q - a.left, v + c * count + t, v_step, n)
        inner[c] = c * count * LANES
        inner[a.C + c] = c * LANES
    for k in range(a.K):
        rows[k] = k // LANES * LANES * a.C + k % LANES
        rows[a.K + k] = k * count * LANES
    needed_tiles(a.P, a.Q, first, count, cols, counts)
    for i in range(4 * count):
        cols[i] *= LANES
    memset(&product, 0, sizeof(product))
    product.outer = 1
    product.inner = a.C
    product.vector_inner = inner
    product.scalar_inner = inner + a.C
    product.scalar_row = rows
    product.out_row = rows + a.K
    for i in range(n * n):
        kind = infinite(<int> i, n)
        if counts[kind]:
            if product.cols != counts[kind]:
                product.cols = counts[kind]
                shape = best_tile(k1 - k0, counts[kind], 2, 16)
            product.vector_col = product.out_col = cols + kind * count
            product.vector = <const real*> (v + i * v_step)
            product.scalar = <const real*> a.u + i * u_step
            product.out = <real*> (m + i * m_step)
            run_tiles(&product, k0, k1, shape)
    for k in range(k0, k1):
        y = <real*> a.y + (block * a.K + k) * a.P * a.Q * LANES
        bias = VEC_ZERO
        if a.bias != NULL:
            bias = vec_all((<const real*> a.bias)[k])
        for t in range(count):
            if n == 6:
                output_values(m + k * count + t, m_step, square, 6, 4, hangs_over(first + t, a.P, a.Q))
            else:
                output_square(m + k * count + t, m_step, square, n, 4, hangs_over(first + t, a.P, a.Q))
            total = sum_of_tile(square)
            lost += not_finite(total)
            m[k * count + t] = total  # over a product that nobody needs any more
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for i in range(min(4, a.P - p)):
                for j in range(min(4, a.Q - q)):
                    square[4 * i + j] += bias
                    if a.clip:
                        square[4 * i + j] = vec_clip(square[4 * i + j], <real> a.low, <real> a.high)
                    (<vec*> (y + ((p + i) * a.Q + q + j) * LANES))[0] = square[4 * i + j]
    if vec_sum(lost) != 0:
        mend_tiles(a, block, k0, k1, first, count, m + k0 * count)
