# The gradient to the input in Winograd's way: the transpose of `winograd.pxi`.  A tile of 4 x 4 gradients dY gives
#
#     B [(G g G') . (A dY A')] B'
#
# to the n x n pixels that the tile of outputs saw; where tiles share pixels their gradients are added, tile after tile.
# The rotated kernel gives the same, but takes a tile for every 4 x 4 pixels, which are more than the outputs where the
# image has no border.  A task is one block, its pieces some of the channels of the pixels each.

cdef inline void spread_line(const vec* d, vec* y, int step, int n) noexcept nogil:
    # y = A d for 4 values: the polynomial with these coefficients at each point; y goes in steps
    cdef vec even, odd
    cdef int pair
    y[0] = d[0]
    y[(n - 1) * step] = d[3]
    for pair in range(n // 2 - 1):
        even = d[0] + d[2] * power(pair, 2)
        odd = (d[1] + d[3] * power(pair, 2)) * power(pair, 1)
        y[(2 * pair + 1) * step] = even + odd
        y[(2 * pair + 2) * step] = even - odd


cdef inline void returned_line(const vec* m, vec* d, int step, int n) noexcept nogil:
    # d = B m for n values; d goes in steps
    cdef vec s1 = m[1] + m[2], t1 = m[1] - m[2], s3 = m[3] + m[4], t3 = m[3] - m[4], s5, t5
    if n == 6:
        d[0] = vec_times(m[0], vec_all(4))
        d[step] = vec_times(m[5] - t1, vec_all(4)) - 2 * t3
        d[2 * step] = vec_times(m[0], vec_all(-5)) - 4 * s1 - s3
        d[3 * step] = vec_times(m[5], vec_all(-5)) + 2 * t3 + t1
        d[4 * step] = m[0] + s1 + s3
        d[5 * step] = m[5]
        return
    s5, t5 = m[5] + m[6], m[5] - m[6]
    d[0] = m[0]
    d[step] = t1 - m[7] + t3 * <real> 0.5 + t5 * <real> 2
    d[2 * step] = s1 + s3 * <real> 0.25 + s5 * <real> 4 - m[0] * <real> 5.25
    d[3 * step] = vec_times(m[7], vec_all(5.25)) - t1 * <real> 4.25 - (t3 + t5) * <real> 2.5
    d[4 * step] = vec_times(m[0], vec_all(5.25)) - s1 * <real> 4.25 - s3 * <real> 1.25 - s5 * <real> 5
    d[5 * step] = t1 + t3 * <real> 2 + t5 * <real> 0.5 - m[7] * <real> 5.25
    d[6 * step] = s1 + s3 + s5 - m[0]
    d[7 * step] = m[7]


cdef inline void spread_square(const real* dy, Py_ssize_t H, Py_ssize_t W, Py_ssize_t h, Py_ssize_t w, vec* v,
                               Py_ssize_t step, int n) noexcept nogil:
    # v = A dY A' of the 4 x 4 gradients from (h, w) on, zero outside; v goes in steps
    cdef vec half[32]
    cdef vec line[8]
    cdef const real* here
    cdef int i, j
    for j in range(4):
        for i in range(4):
            here = dy + ((h + i) * W + w + j) * LANES
            if h + i >= H or w + j >= W:
                here = NOTHING
            line[i] = (<const vec*> here)[0]
        spread_line(line, &half[j], 4, n)
    for i in range(n):
        spread_line(&half[i * 4], line, 1, n)
        for j in range(n):
            v[(i * n + j) * step] = line[j]


cdef inline void add_square(const vec* m, Py_ssize_t step, real* dx, Py_ssize_t P, Py_ssize_t Q, Py_ssize_t p,
                            Py_ssize_t q, int n) noexcept nogil:
    # dx += B m B' at the n x n pixels from (p, q) on that there are; m comes in steps
    cdef vec half[64]
    cdef vec line[8]
    cdef vec* at
    cdef int i, j
    for j in range(n):
        for i in range(n):
            line[i] = m[(i * n + j) * step]
        returned_line(line, &half[j], n, n)
    for i in range(n):
        if 0 <= p + i < P:
            returned_line(&half[i * n], line, 1, n)
            for j in range(n):
                if 0 <= q + j < Q:
                    at = <vec*> (dx + ((p + i) * Q + q + j) * LANES)
                    at[0] = at[0] + line[j]


cdef void winograd_back(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # `Winograd` of the rotated kernel, but for u: x is dy and y is dx
    cdef const Winograd* a = <const Winograd*> args
    cdef Py_ssize_t block = task // a.cut, piece = task % a.cut
    cdef Py_ssize_t k0 = a.K * piece // a.cut, k1 = a.K * (piece + 1) // a.cut
    cdef Py_ssize_t across = (a.W + 3) // 4, tiles = (a.H + 3) // 4 * across, first = 0, count, c, k, t, i
    cdef Py_ssize_t top = a.taps - 1 - a.top, left = a.taps - 1 - a.left, plane = a.P * a.Q * LANES
    cdef Py_ssize_t u_step = groups_of(a.K) * a.C * LANES, v_step, m_step
    cdef int n = a.taps + 3, shape
    cdef real* dx = <real*> a.y + block * a.K * plane
    cdef const real* dy = <const real*> a.x + block * a.C * a.H * a.W * LANES
    cdef vec* v = <vec*> scratch                                     # (n * n, C, count)
    cdef vec* m = v + n * n * odd_step(a.C * a.chunk)                # (n * n, K, count)
    cdef Py_ssize_t* cols = <Py_ssize_t*> (m + n * n * odd_step(a.K * a.chunk))
    cdef Py_ssize_t* inner = cols + a.chunk
    cdef Py_ssize_t* rows = inner + 2 * a.C
    cdef Tile product
    memset(dx + k0 * plane, 0, (k1 - k0) * plane * sizeof(real))
    memset(&product, 0, sizeof(product))
    product.outer, product.inner = 1, a.C
    product.vector_inner, product.scalar_inner = inner, inner + a.C
    product.scalar_row, product.out_row = rows, rows + a.K
    product.vector_col = product.out_col = cols
    while first < tiles:
        count = min(a.chunk, tiles - first)
        v_step, m_step = odd_step(a.C * count), odd_step(a.K * count)
        for c in range(a.C):
            for t in range(count):
                if n == 6:
                    spread_square(dy + c * a.H * a.W * LANES, a.H, a.W, (first + t) // across * 4,
                                  (first + t) % across * 4, v + c * count + t, v_step, 6)
                else:
                    spread_square(dy + c * a.H * a.W * LANES, a.H, a.W, (first + t) // across * 4,
                                  (first + t) % across * 4, v + c * count + t, v_step, 8)
            inner[c] = c * count * LANES
            inner[a.C + c] = c * LANES
        for k in range(a.K):
            rows[k] = k // LANES * LANES * a.C + k % LANES
            rows[a.K + k] = k * count * LANES
        for t in range(count):
            cols[t] = t * LANES
        product.cols = count
        shape = best_tile(k1 - k0, count, 2, 16)
        for i in range(n * n):
            product.vector = <const real*> (v + i * v_step)
            product.scalar = <const real*> a.u + i * u_step
            product.out = <real*> (m + i * m_step)
            run_tiles(&product, k0, k1, shape)
        for k in range(k0, k1):
            for t in range(count):
                if n == 6:
                    add_square(m + k * count + t, m_step, dx + k * plane, a.P, a.Q, (first + t) // across * 4 - top,
                               (first + t) % across * 4 - left, 6)
                else:
                    add_square(m + k * count + t, m_step, dx + k * plane, a.P, a.Q, (first + t) // across * 4 - top,
                               (first + t) % across * 4 - left, 8)
        first += count
    mend_pixels(a, block, k0, k1)


cdef long long winograd_back_scratch(const void* args) noexcept nogil:
    # v, m and the tables of `winograd_back`: tiles, channels of v and u, rows of u and m
    cdef const Winograd* a = <const Winograd*> args
    cdef long long vectors = odd_step(a.C * a.chunk) + odd_step(a.K * a.chunk)
    return ((a.taps + 3) * (a.taps + 3) * vectors * sizeof(vec)
            + sizeof(Py_ssize_t) * (a.chunk + 2 * a.C + 2 * a.K))
