# Winograd's minimal filtering F(4 x 4, 3 x 3) for 3 x 3 convolutions with stride 1 (Lavin and Gray,
# "Fast Algorithms for Convolutional Neural Networks", 2015): 36 products for 16 outputs and 144
# weights' worth of work.  Y = A' [(G g G') . (B' d B)] A, elementwise in the lanes, so that each of
# the 36 places is a product of matrices over the channels: the inner loop of `tile.pxi` again.
#
# A task is a run of tiles of one block: transform their 6 x 6 inputs, multiply, transform back.

cdef inline void input_line(vec* d, int step) noexcept nogil:
    # B' d for six values, in place
    cdef vec a = d[4 * step] - 4 * d[2 * step]
    cdef vec b = d[3 * step] - 4 * d[step]
    cdef vec c = d[4 * step] - d[2 * step]
    cdef vec e = 2 * (d[3 * step] - d[step])
    d[0] = 4 * d[0] - 5 * d[2 * step] + d[4 * step]
    d[5 * step] = 4 * d[step] - 5 * d[3 * step] + d[5 * step]
    d[step] = a + b
    d[2 * step] = a - b
    d[3 * step] = c + e
    d[4 * step] = c - e


cdef inline void output_line(vec* m, int step) noexcept nogil:
    # A' m for six values; four results, in place
    cdef vec p = m[step] + m[2 * step], q = m[step] - m[2 * step]
    cdef vec r = m[3 * step] + m[4 * step], s = m[3 * step] - m[4 * step]
    m[0] = m[0] + p + r
    m[step] = q + 2 * s
    m[2 * step] = p + 4 * r
    m[3 * step] = q + 8 * s + m[5 * step]


cdef inline void filter_line(vec* g, int step) noexcept nogil:
    # G g for three values; six results, in place
    cdef vec a = (g[0] + g[2 * step]) * <real> (-1.0 / 6), b = g[step] * <real> (1.0 / 6)
    cdef vec c = g[0] * <real> (1.0 / 24) + g[2 * step] * <real> (1.0 / 6)
    cdef vec e = g[step] * <real> (1.0 / 12)
    g[5 * step] = g[2 * step]
    g[0] = g[0] * <real> 0.25
    g[step] = a - b
    g[2 * step] = a + b
    g[3 * step] = c + e
    g[4 * step] = c - e


cdef void winograd_filter(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # u[place, k, c] for one output channel k = task, as many c at once as there are lanes
    cdef const WinogradFilter* a = <const WinogradFilter*> args
    cdef const real* w
    cdef real* u = <real*> a.u + task * a.C
    cdef real column[9][LANES]
    cdef vec g[36]
    cdef Py_ssize_t c = 0, l
    cdef int i, j, count
    while c < a.C:
        count = <int> min(LANES, a.C - c)
        for l in range(count):
            w = <const real*> a.w + task * a.w_k + (c + l) * a.w_c
            for i in range(9):
                column[i][l] = w[8 - i if a.rotate else i]
        for i in range(3):
            for j in range(3):
                g[6 * i + j] = vec_load_part(column[3 * i + j], count)
            filter_line(&g[6 * i], 1)
        for j in range(6):
            filter_line(&g[j], 6)
        for i in range(36):
            vec_store_part(u + i * a.K * a.C + c, g[i], count)
        c += LANES


cdef inline void gather_patch(const Winograd* a, const real* x, Py_ssize_t h, Py_ssize_t w,
                              vec* d) noexcept nogil:
    # the 6 x 6 pixels from (h, w) on, zero outside
    cdef Py_ssize_t i, j
    cdef bint inside = h >= 0 and w >= 0 and h + 6 <= a.H and w + 6 <= a.W
    for i in range(6):
        for j in range(6):
            d[6 * i + j] = VEC_ZERO
            if inside or (0 <= h + i < a.H and 0 <= w + j < a.W):
                d[6 * i + j] = (<const vec*> (x + ((h + i) * a.W + w + j) * LANES))[0]


cdef void winograd(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Winograd* a = <const Winograd*> args
    cdef Py_ssize_t across = (a.Q + 3) // 4, tiles = (a.P + 3) // 4 * across
    cdef Py_ssize_t chunks = (tiles + a.chunk - 1) // a.chunk
    cdef Py_ssize_t n = task // chunks, first = task % chunks * a.chunk
    cdef Py_ssize_t count = min(a.chunk, tiles - first), c, k, t, p, q, i, j
    cdef vec* v = <vec*> scratch              # (36, C, count)
    cdef vec* m = v + 36 * a.C * a.chunk      # (36, K, count)
    cdef Py_ssize_t* table = <Py_ssize_t*> (m + 36 * a.K * a.chunk)
    cdef const real* x
    cdef real* y
    cdef vec d[36]
    cdef Tile tile_args
    for c in range(a.C):
        x = <const real*> a.x + (n * a.C + c) * a.H * a.W * LANES
        for t in range(count):
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            gather_patch(a, x, p - a.top, q - a.left, d)
            for i in range(6):
                input_line(&d[i], 6)
            for i in range(6):
                input_line(&d[6 * i], 1)
            for i in range(36):
                v[(i * a.C + c) * count + t] = d[i]
    for t in range(count):
        table[t] = t * LANES
    for c in range(a.C):
        table[count + c] = c * count * LANES
        table[count + a.C + c] = c
    tile_args.pixels = count
    tile_args.C = 1
    tile_args.taps = a.C
    tile_args.x_c = tile_args.w_c = 0
    tile_args.w_k = a.C
    tile_args.y_k = count * LANES
    tile_args.x_pixel = tile_args.y_pixel = table
    tile_args.x_tap = table + count
    tile_args.w_tap = table + count + a.C
    tile_args.bias = NULL
    for i in range(36):
        tile_args.x = <const real*> (v + i * a.C * count)
        tile_args.w = <const real*> a.u + i * a.K * a.C
        tile_args.y = <real*> (m + i * a.K * count)
        run_tiles(&tile_args, 0, a.K)
    for k in range(a.K):
        y = <real*> a.y + (n * a.K + k) * a.P * a.Q * LANES
        for t in range(count):
            for i in range(36):
                d[i] = m[(i * a.K + k) * count + t]
            for i in range(6):
                output_line(&d[i], 6)
            for i in range(4):
                output_line(&d[6 * i], 1)
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for i in range(min(4, a.P - p)):
                for j in range(min(4, a.Q - q)):
                    if a.bias != NULL:
                        d[6 * i + j] = d[6 * i + j] + (<const real*> a.bias)[k]
                    (<vec*> (y + ((p + i) * a.Q + q + j) * LANES))[0] = d[6 * i + j]
