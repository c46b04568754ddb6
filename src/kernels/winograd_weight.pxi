# The gradient to the weights in Winograd's way, F(R x R, 4 x 4): dw is what a filter of 4 x 4 gradients
# gives R x R taps of n x n pixels, summed over the tiles and images.  The transforms are those of
# `winograd.pxi`; the products at each frequency are summed over tiles in registers, then over the lanes,
# and what is left is transformed back once.  A task is one block of images.

cdef inline void sum_of_products(const vec* u, const vec* v, Py_ssize_t count, Py_ssize_t down,
                                 Py_ssize_t across, vec* m, bint more) noexcept nogil:
    # m[k * ACROSS + c] (+)= sum over lanes and tiles t of u[k, t] * v[c, t]
    cdef vec acc[GROUPS * LANES]
    cdef vec here[ACROSS]
    cdef const vec* row[DOWN]
    cdef const vec* col[ACROSS]
    cdef Py_ssize_t t
    cdef int i, j
    for i in range(DOWN):
        row[i] = u + min(i, down - 1) * count
    for j in range(ACROSS):
        col[j] = v + min(j, across - 1) * count
    for i in range(GROUPS * LANES):
        acc[i] = VEC_ZERO
    for t in range(count):
        for j in range(ACROSS):
            here[j] = col[j][t]
        for i in range(DOWN):
            for j in range(ACROSS):
                acc[i * ACROSS + j] += row[i][t] * here[j]
    for i in range(GROUPS):
        acc[i] = vec_sums(&acc[i * LANES])
        m[i] = acc[i] + m[i] if more else acc[i]


cdef long long winograd_weight_scratch(const void* args) noexcept nogil:
    # v, u and m of `weight_gradient`
    cdef const WinogradWeight* a = <const WinogradWeight*> args
    cdef Py_ssize_t cols = (a.C + ACROSS - 1) // ACROSS, rows = (a.K + DOWN - 1) // DOWN
    cdef long long vectors = odd_step(a.C * a.chunk) + odd_step(a.K * a.chunk) + rows * cols * GROUPS
    return (a.taps + 3) * (a.taps + 3) * vectors * sizeof(vec)


cdef inline void weight_gradient(const WinogradWeight* a, Py_ssize_t task, char* scratch,
                                 int n) noexcept nogil:
    cdef int taps = n - 3
    cdef Py_ssize_t across = (a.Q + 3) // 4, tiles = (a.P + 3) // 4 * across
    cdef Py_ssize_t cols = (a.C + ACROSS - 1) // ACROSS, rows = (a.K + DOWN - 1) // DOWN
    cdef Py_ssize_t first = 0, count, c, k, t, p, q, i, j, frequency
    cdef Py_ssize_t v_step = odd_step(a.C * a.chunk), u_step = odd_step(a.K * a.chunk)
    cdef vec* v = <vec*> scratch              # (n * n, C, count)
    cdef vec* u = v + n * n * v_step          # (n * n, K, count)
    cdef vec* m = u + n * n * u_step          # (n * n, rows, cols, GROUPS)
    cdef const real* x = <const real*> a.x + task * a.C * a.H * a.W * LANES
    cdef const real* dy = <const real*> a.dy + task * a.K * a.P * a.Q * LANES
    cdef real total
    cdef real* dw = <real*> a.dw + task * a.K * a.C * taps * taps
    cdef vec square[25 * GROUPS]
    cdef vec lost[GROUPS]
    while first < tiles:
        count = min(a.chunk, tiles - first)
        for t in range(count):
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for c in range(a.C):
                input_square(x + c * a.H * a.W * LANES, a.W * LANES, a.H, a.W, p - a.top, q - a.left,
                             v + c * count + t, v_step, n)
            for k in range(a.K):
                gradient_square(dy + k * a.P * a.Q * LANES, a.P, a.Q, p, q, u + k * count + t,
                                u_step, n)
        if task == a.N - 1 and a.live < LANES:
            clear_lanes(v, n * n * v_step, a.live)
            clear_lanes(u, n * n * u_step, a.live)
        for frequency in range(n * n):
            for i in range(rows):
                for j in range(cols):
                    sum_of_products(u + frequency * u_step + i * DOWN * count,
                                    v + frequency * v_step + j * ACROSS * count, count, a.K - i * DOWN,
                                    a.C - j * ACROSS, m + ((frequency * rows + i) * cols + j) * GROUPS,
                                    first > 0)
        first += count
    for i in range(rows):
        for j in range(cols):
            for k in range(GROUPS):
                output_square(m + (i * cols + j) * GROUPS + k, rows * cols * GROUPS,
                              &square[k * taps * taps], n, taps)
                lost[k] = square[k * taps * taps]
                for p in range(1, taps * taps):
                    lost[k] += square[k * taps * taps + p]
            scatter(square, dw + (i * DOWN * a.C + j * ACROSS) * taps * taps, a.C, a.K - i * DOWN,
                    a.C - j * ACROSS, taps)
            for k in range(min(DOWN, a.K - i * DOWN)):
                for c in range(min(ACROSS, a.C - j * ACROSS)):
                    total = (<const real*> lost)[k * ACROSS + c]
                    if total - total != 0:
                        mend_weights(a, task, i * DOWN + k, j * ACROSS + c,
                                     dw + ((i * DOWN + k) * a.C + j * ACROSS + c) * taps * taps)


cdef void clear_lanes(vec* x, Py_ssize_t count, Py_ssize_t live) noexcept nogil:
    # zeros in the lanes without an image
    cdef mask first = vec_first(live)
    cdef Py_ssize_t i
    for i in range(count):
        x[i] = vec_select(first, x[i], VEC_ZERO)


cdef inline void gradient_square(const real* dy, Py_ssize_t P, Py_ssize_t Q, Py_ssize_t p,
                                 Py_ssize_t q, vec* u, Py_ssize_t step, int n) noexcept nogil:
    # u = G g G' of the 4 x 4 gradients from (p, q) on, zero outside; u goes in steps
    cdef vec g[16]
    cdef const real* here
    cdef int i, j
    for i in range(4):
        for j in range(4):
            here = dy + ((p + i) * Q + q + j) * LANES
            if p + i >= P or q + j >= Q:
                here = NOTHING
            g[4 * i + j] = (<const vec*> here)[0]
    filter_square(g, u, step, n, 4)


cdef inline void scatter(const vec* square, real* dw, Py_ssize_t C, Py_ssize_t down, Py_ssize_t across,
                         int taps) noexcept nogil:
    # from (GROUPS, taps * taps) vectors of DOWN x ACROSS pairs of channels to (K, C, taps, taps)
    cdef const real* lane = <const real*> square
    cdef int i, j, r, at
    for i in range(<int> min(DOWN, down)):
        for j in range(<int> min(ACROSS, across)):
            at = i * ACROSS + j
            for r in range(taps * taps):
                dw[(i * C + j) * taps * taps + r] = lane[
                    (at // LANES * taps * taps + r) * LANES + at % LANES]


cdef void winograd_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const WinogradWeight* a = <const WinogradWeight*> args
    if a.taps == 3:
        weight_gradient(a, task, scratch, 6)
    else:
        weight_gradient(a, task, scratch, 8)
