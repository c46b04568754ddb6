# One image at a time: the lanes go over output channels, so that a single prediction fills the vectors
# too.  An activation lies in blocks of LANES channels, (blocks, height, width, LANES), maybe within a
# border of zeros; where exactly, the tables of the callers say.  With few channels, as behind the input,
# the lanes go over neighbouring pixels of plain images instead.

cdef void channel_conv(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # A task is some pixels of some blocks of output channels.  The scalars are numbers of x, a row for each
    # pixel; the vectors are those of w, a column for each block.  (With lanes over pixels x is the weights and
    # w the image: a "pixel" is an output channel there, and a "block" a run of LANES pixels.)
    cdef const ChannelConv* a = <const ChannelConv*> args
    cdef Py_ssize_t cuts = (a.pixels + a.pixel_cut - 1) // a.pixel_cut
    cdef Py_ssize_t first = task % cuts * a.pixel_cut, block = task // cuts * a.block_cut, last
    cdef Tile t
    memset(&t, 0, sizeof(t))
    t.cols = min(a.block_cut, a.blocks - block)
    t.outer = 1
    t.inner = a.taps
    t.vector_inner = a.w_tap
    t.scalar_inner = a.x_tap
    t.vector_col = a.w_block + block
    t.out_col = a.y_block + block
    t.scalar_row = a.x_pixel
    t.out_row = a.y_pixel
    t.vector = <const real*> a.w
    t.scalar = <const real*> a.x
    if a.bias_of_pixels:
        t.row_bias = <const real*> a.bias
    else:
        t.col_bias = <const real*> a.bias + block * LANES
    t.out = <real*> a.y
    t.clip = a.clip
    t.low = <real> a.low
    t.high = <real> a.high
    last = min(first + a.pixel_cut, a.pixels)
    run_tiles(&t, first, last, best_tile(last - first, t.cols, 2, 16))


cdef long long channel_winograd_scratch(const void* args) noexcept nogil:
    # v, m and four tables of `winograd_channels`: channels of v and u, blocks of u and m
    cdef const ChannelWinograd* a = <const ChannelWinograd*> args
    cdef long long vectors = odd_step(a.C * a.chunk) + odd_step(a.block_cut * a.chunk)
    return ((a.taps + 3) * (a.taps + 3) * vectors * sizeof(vec)
            + 2 * sizeof(Py_ssize_t) * <long long> (a.channels + a.block_cut + 4 * a.chunk))


cdef void channel_winograd(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # A task is some tiles of 4 x 4 pixels of some blocks of output channels.  The scalars are transformed pixels, a row
    # for each tile; the vectors are transformed weights, a column for each block of output channels.
    cdef const ChannelWinograd* a = <const ChannelWinograd*> args
    cdef int n = a.taps + 3, shape = 0, kind
    cdef Py_ssize_t across = (a.Q + 3) // 4, tiles = (a.P + 3) // 4 * across
    cdef Py_ssize_t cuts = (tiles + a.chunk - 1) // a.chunk, first = task % cuts * a.chunk
    cdef Py_ssize_t k0 = task // cuts * a.block_cut, K = min(a.block_cut, a.K - k0)
    cdef Py_ssize_t count = min(a.chunk, tiles - first), c, k, t, p, q, i, j
    cdef Py_ssize_t v_step = odd_step(a.C * count), m_step = odd_step(K * count)
    cdef vec* v = <vec*> scratch              # (n * n, count, blocks of C)
    cdef vec* m = v + n * n * v_step          # (n * n, count, K)
    cdef Py_ssize_t* table = <Py_ssize_t*> (m + n * n * m_step)
    cdef Py_ssize_t* rows = table + 2 * (a.channels + K)  # of v, then of m
    cdef Py_ssize_t counts[4]
    cdef real* y
    cdef vec bias, total, lost = VEC_ZERO
    cdef vec square[16]
    cdef Tile product
    for t in range(count):
        p = (first + t) // across * 4
        q = (first + t) % across * 4
        for c in range(a.C):
            if n == 6:
                input_values(<const real*> a.x + c * a.x_plane, a.x_row, a.H, a.W, p - a.top, q - a.left,
                             v + t * a.C + c, v_step, 6)
            else:
                input_square(<const real*> a.x + c * a.x_plane, a.x_row, a.H, a.W, p - a.top, q - a.left,
                             v + t * a.C + c, v_step, n)
    memset(&product, 0, sizeof(product))
    product.cols = K
    product.outer = 1
    product.inner = a.channels
    product.scalar_inner = table
    product.vector_inner = table + a.channels
    product.vector_col = table + 2 * a.channels
    product.out_col = table + 2 * a.channels + K
    for c in range(a.channels):
        table[c] = c
        table[a.channels + c] = c * LANES
    for k in range(K):
        table[2 * a.channels + k] = (k0 + k) * a.channels * LANES
        table[2 * a.channels + K + k] = k * LANES
    needed_tiles(a.P, a.Q, first, count, rows, counts)
    for i in range(4 * count):
        rows[4 * count + i] = rows[i] * K * LANES
        rows[i] *= a.C * LANES
    for i in range(n * n):
        kind = infinite(<int> i, n)
        if counts[kind]:
            if product.rows != counts[kind]:
                product.rows = counts[kind]
                shape = best_tile(counts[kind], K, 2, 8)
            product.scalar_row = rows + kind * count
            product.out_row = product.scalar_row + 4 * count
            product.vector = <const real*> a.u + i * a.K * a.channels * LANES
            product.scalar = <const real*> (v + i * v_step)
            product.out = <real*> (m + i * m_step)
            run_tiles(&product, 0, product.rows, shape)
    for k in range(K):
        bias = (<const vec*> (<const real*> a.bias + (k0 + k) * LANES))[0]
        for t in range(count):
            if n == 6:
                output_values(m + t * K + k, m_step, square, 6, 4, hangs_over(first + t, a.P, a.Q))
            else:
                output_square(m + t * K + k, m_step, square, n, 4, hangs_over(first + t, a.P, a.Q))
            total = sum_of_tile(square)
            lost += not_finite(total)
            m[t * K + k] = total
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for i in range(min(4, a.P - p)):
                y = <real*> a.y + (k0 + k) * a.y_plane + (p + i) * a.y_row + q * LANES
                for j in range(min(4, a.Q - q)):
                    square[4 * i + j] += bias
                    if a.clip:
                        square[4 * i + j] = vec_clip(square[4 * i + j], <real> a.low, <real> a.high)
                    (<vec*> (y + j * LANES))[0] = square[4 * i + j]
    if vec_sum(lost) != 0:
        mend_channels(a, k0, K, first, count, m)


cdef inline void depthwise_pixels(const ChannelConv* a, Py_ssize_t block, Py_ssize_t first,
                                  Py_ssize_t last, int count) noexcept nogil:
    # `count` pixels, a constant; those from `last` on repeat the one before
    cdef const real* w = <const real*> a.w + a.w_block[block]
    cdef const real* x = <const real*> a.x + block * a.x_block
    cdef real* y = <real*> a.y + a.y_block[block]
    cdef const Py_ssize_t* y_pixel = a.y_pixel
    cdef real low = <real> a.low if a.clip else -REAL_HUGE, high = <real> a.high if a.clip else REAL_HUGE
    cdef vec acc[8]
    cdef vec weight
    cdef const real* at[8]
    cdef Py_ssize_t t, tap
    cdef int i
    for i in range(count):
        acc[i] = (<const vec*> (<const real*> a.bias + block * LANES))[0]
        at[i] = x + a.x_pixel[min(first + i, last - 1)]
    for t in range(a.taps):
        weight = (<const vec*> (w + t * LANES))[0]
        tap = a.x_tap[t]
        for i in range(count):
            acc[i] += weight * (<const vec*> (at[i] + tap))[0]
    for i in range(count):
        (<vec*> (y + y_pixel[min(first + i, last - 1)]))[0] = vec_clip(acc[i], low, high)


cdef inline void depthwise_rows(const ChannelConv* a, Py_ssize_t block, int count, int step) noexcept nogil:
    # rows of pixels and of taps side by side, `count` pixels at once
    cdef const real* w = <const real*> a.w + a.w_block[block]
    cdef const real* x = <const real*> a.x + block * a.x_block
    cdef const real* row
    cdef real* y = <real*> a.y + a.y_block[block]
    cdef const Py_ssize_t* x_pixel = a.x_pixel
    cdef const Py_ssize_t* y_pixel = a.y_pixel
    cdef const Py_ssize_t* x_tap = a.x_tap
    cdef Py_ssize_t pixels = a.pixels, across = a.across, first = 0, q, here
    cdef real low = <real> a.low if a.clip else -REAL_HUGE, high = <real> a.high if a.clip else REAL_HUGE
    cdef vec bias = (<const vec*> (<const real*> a.bias + block * LANES))[0]
    cdef vec acc[8]
    cdef int i, m
    while first < pixels:
        q = 0
        while q < across:
            here = first + min(q, across - count)
            for m in range(count):
                acc[m] = bias
            for i in range(3):
                row = one_address(x + x_pixel[here] + x_tap[3 * i + 1])
                three_taps(acc, row, row - LANES, row + ((count - 1) * step + 1) * LANES, w + 3 * i * LANES, count,
                           step, True)
            for m in range(count):
                (<vec*> (y + y_pixel[here] + m * LANES))[0] = vec_clip(acc[m], low, high)
            q += count
        first += across


cdef inline void depthwise_near(const ChannelConv* a, Py_ssize_t block, int count, int step) noexcept nogil:
    if count == 8:
        depthwise_rows(a, block, 8, step)
    elif count == 7:
        depthwise_rows(a, block, 7, step)
    elif count == 6:
        depthwise_rows(a, block, 6, step)
    elif count == 5:
        depthwise_rows(a, block, 5, step)
    elif count == 4:
        depthwise_rows(a, block, 4, step)
    elif count == 3:
        depthwise_rows(a, block, 3, step)
    elif count == 2:
        depthwise_rows(a, block, 2, step)
    else:
        depthwise_rows(a, block, 1, step)


cdef void depthwise(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # each channel by itself; a task is a block of channels
    cdef const ChannelConv* a = <const ChannelConv*> args
    cdef Py_ssize_t pixel = 0
    if a.across and a.step == 1:
        depthwise_near(a, task, even_strip(a.across), 1)
        return
    if a.across:
        depthwise_near(a, task, even_strip(a.across), 2)
        return
    while a.pixels - pixel > 4:
        depthwise_pixels(a, task, pixel, a.pixels, 8)
        pixel += 8
    if pixel < a.pixels:
        depthwise_pixels(a, task, pixel, a.pixels, 4)


cdef void embed(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # all planes, into `size` numbers that are zero elsewhere
    cdef const Planes* a = <const Planes*> args
    cdef Py_ssize_t c, h, w
    cdef real* y
    cdef const unsigned char* byte
    memset(a.y, 0, a.size * sizeof(real))
    for c in range(a.planes):
        for h in range(a.H):
            y = <real*> a.y + a.first + c * a.y_plane + h * a.y_row
            if a.bytes:
                byte = <const unsigned char*> a.x + c * a.x_plane + h * a.x_row
                for w in range(a.W):
                    y[w] = byte[w] * <real> a.scale
            else:
                memcpy(y, <const real*> a.x + c * a.x_plane + h * a.x_row, a.W * sizeof(real))


cdef inline vec larger(vec a, vec b) noexcept nogil:
    # as max_pool: the first of equal maxima, and a NaN always
    return vec_select(mask_or(vec_above(b, a), vec_nan(b)), b, a)


cdef void pool_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # Max pooling, 2 x 2, of plain planes.  A vector may hang over the end of its row of y: what it
    # spoils is written after it, or is nobody's.
    cdef const Planes* a = <const Planes*> args
    cdef Py_ssize_t c, h, w
    cdef const real* x
    cdef const real* below
    for c in range(a.planes):
        for h in range(a.H):
            x = <const real*> a.x + c * a.x_plane + 2 * h * a.x_row
            below = x + a.x_row
            w = 0
            while w < a.W:
                (<vec*> (<real*> a.y + c * a.y_plane + h * a.y_row + w))[0] = larger(
                    larger(vec_evens((<const vec*> (x + 2 * w))[0], (<const vec*> (x + 2 * w + LANES))[0]),
                           vec_odds((<const vec*> (x + 2 * w))[0], (<const vec*> (x + 2 * w + LANES))[0])),
                    larger(vec_evens((<const vec*> (below + 2 * w))[0],
                                     (<const vec*> (below + 2 * w + LANES))[0]),
                           vec_odds((<const vec*> (below + 2 * w))[0],
                                    (<const vec*> (below + 2 * w + LANES))[0])))
                w += LANES


cdef void move(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # numbers, or whole vectors of lanes, from here to there
    cdef const Move* a = <const Move*> args
    cdef const real* x = <const real*> a.x
    cdef real* y = <real*> a.y
    cdef Py_ssize_t i
    if a.width == 1:
        for i in range(a.count):
            y[a.target[i]] = x[a.source[i]]
    else:
        for i in range(a.count):
            (<vec*> (y + a.target[i]))[0] = (<const vec*> (x + a.source[i]))[0]


cdef void fill(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Move* a = <const Move*> args
    cdef Py_ssize_t i
    for i in range(a.count):
        (<real*> a.y)[i] = <real> a.value


cdef void border(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # zeros around the H rows of W numbers of each plane
    cdef const Planes* a = <const Planes*> args
    cdef Py_ssize_t c, h, inner
    cdef real* y
    for c in range(a.planes):
        y = <real*> a.y + c * a.y_plane
        memset(y, 0, a.first * sizeof(real))
        for h in range(a.H - 1):
            memset(y + a.first + h * a.y_row + a.W, 0, (a.y_row - a.W) * sizeof(real))
        inner = a.first + (a.H - 1) * a.y_row + a.W
        memset(y + inner, 0, (a.y_plane - inner) * sizeof(real))
