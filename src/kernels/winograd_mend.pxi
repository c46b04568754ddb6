# What Winograd's transforms spoil is done again the direct way.  A NaN, an infinity or a number near
# the largest one spreads over its whole tile there; the results of such a tile are not finite, and so
# is their sum, by which the kernels find it.  Lanes whose sum is finite keep what they have, so an
# image's answer does not depend on its neighbours.  Sums run as in `conv2d.pxi`: over the channels,
# for each over the taps inside the image.

cdef inline vec sum_of_tile(const vec* square) noexcept nogil:
    cdef vec total = VEC_ZERO
    cdef int i
    for i in range(4):
        total += (square[4 * i] + square[4 * i + 1]) + (square[4 * i + 2] + square[4 * i + 3])
    return total


cdef inline vec not_finite(vec total) noexcept nogil:
    # 0, or NaN where it is not finite
    return total - total


cdef inline void add_channel(const real* x, Py_ssize_t row, Py_ssize_t H, Py_ssize_t W, Py_ssize_t h, Py_ssize_t w,
                             const vec* weight, int taps, bint one, vec* acc) noexcept nogil:
    # what an input channel gives to the 4 x 4 results whose first tap lies at (h, w); of a pixel, `one`
    # number goes to all lanes, or each lane has its own
    cdef const real* here
    cdef vec total
    cdef Py_ssize_t i, j, r, s, r0, r1, s0, s1
    for i in range(4):
        r0 = max(0, -h - i)
        r1 = min(taps, H - h - i)
        for j in range(4):
            s0 = max(0, -w - j)
            s1 = min(taps, W - w - j)
            total = acc[4 * i + j]
            for r in range(r0, r1):
                here = x + (h + i + r) * row + (w + j) * LANES
                for s in range(s0, s1):
                    if one:
                        total += vec_all(here[s * LANES]) * weight[r * taps + s]
                    else:
                        total += (<const vec*> (here + s * LANES))[0] * weight[r * taps + s]
            acc[4 * i + j] = total


cdef inline void replace(const vec* acc, mask wrong, real* y, Py_ssize_t y_row, Py_ssize_t down,
                         Py_ssize_t across, bint clip, double low, double high) noexcept nogil:
    cdef vec* at
    cdef vec value
    cdef Py_ssize_t i, j
    for i in range(min(4, down)):
        for j in range(min(4, across)):
            at = <vec*> (y + i * y_row + j * LANES)
            value = acc[4 * i + j]
            if clip:
                value = vec_clip(value, <real> low, <real> high)
            at[0] = vec_select(wrong, value, at[0])


cdef void mend_tiles(const Winograd* a, Py_ssize_t block, Py_ssize_t k0, Py_ssize_t k1, Py_ssize_t first,
                     Py_ssize_t count, const vec* sums) noexcept nogil:
    # the tiles from `first` on of the output channels k0..k1-1; sums[(k - k0) * count + t]
    cdef Py_ssize_t across = (a.Q + 3) // 4, k, t, c, p, q
    cdef int squared = a.taps * a.taps, i
    cdef mask live = vec_first(a.live if block == a.N - 1 else LANES)
    cdef vec lost
    cdef vec acc[16]
    cdef vec weight[25]
    cdef const real* w
    for k in range(k0, k1):
        for t in range(count):
            lost = vec_select(live, not_finite(sums[(k - k0) * count + t]), VEC_ZERO)
            if vec_sum(lost) == 0:
                continue
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for i in range(16):
                acc[i] = VEC_ZERO if a.bias == NULL else vec_all((<const real*> a.bias)[k])
            for c in range(a.C):
                w = <const real*> a.w + k * a.w_k + c * a.w_c
                for i in range(squared):
                    weight[i] = vec_all(w[squared - 1 - i if a.rotate else i])
                add_channel(<const real*> a.x + (block * a.C + c) * a.H * a.W * LANES, a.W * LANES, a.H, a.W,
                            p - a.top, q - a.left, weight, a.taps, False, acc)
            replace(acc, vec_nan(lost), <real*> a.y + (((block * a.K + k) * a.P + p) * a.Q + q) * LANES,
                    a.Q * LANES, a.P - p, a.Q - q, a.clip, a.low, a.high)


cdef void mend_pixels(const Winograd* a, Py_ssize_t block, Py_ssize_t k0, Py_ssize_t k1) noexcept nogil:
    # all 4 x 4 pixels of the output channels k0..k1-1 that are not finite
    cdef Py_ssize_t across = (a.Q + 3) // 4, k, t, p, q, i, j
    cdef const vec* y
    cdef vec total
    for k in range(k0, k1):
        y = <const vec*> (<const real*> a.y + (block * a.K + k) * a.P * a.Q * LANES)
        for t in range((a.P + 3) // 4 * across):
            total = VEC_ZERO
            p, q = t // across * 4, t % across * 4
            for i in range(p, min(p + 4, a.P)):
                for j in range(q, min(q + 4, a.Q)):
                    total += y[i * a.Q + j]
            if vec_sum(not_finite(total)) != 0:
                mend_tiles(a, block, k, k + 1, t, 1, &total)


cdef void mend_channels(const ChannelWinograd* a, Py_ssize_t k0, Py_ssize_t K, Py_ssize_t first,
                        Py_ssize_t count, const vec* sums) noexcept nogil:
    # likewise for one image and K blocks of output channels from k0 on; sums[t * K + k]
    cdef Py_ssize_t across = (a.Q + 3) // 4, k, t, c, p, q, l, filters
    cdef int squared = a.taps * a.taps, i
    cdef vec lost
    cdef vec acc[16]
    cdef vec weight[25]
    cdef real lane[LANES]
    cdef const real* w
    for k in range(K):
        filters = min(LANES, a.filters - (k0 + k) * LANES)
        for t in range(count):
            lost = vec_select(vec_first(filters), not_finite(sums[t * K + k]), VEC_ZERO)
            if vec_sum(lost) == 0:
                continue
            p = (first + t) // across * 4
            q = (first + t) % across * 4
            for i in range(16):
                acc[i] = (<const vec*> (<const real*> a.bias + (k0 + k) * LANES))[0]
            for c in range(a.channels):
                for i in range(squared):
                    w = <const real*> a.w + ((k0 + k) * LANES * a.channels + c) * squared + i
                    for l in range(filters):
                        lane[l] = w[l * a.channels * squared]
                    weight[i] = vec_load_part(lane, <int> filters)
                add_channel(<const real*> a.x + c // LANES * a.x_plane + c % LANES, a.x_row, a.H, a.W,
                            p - a.top, q - a.left, weight, a.taps, True, acc)
            replace(acc, vec_nan(lost),
                    <real*> a.y + (k0 + k) * a.y_plane + p * a.y_row + q * LANES,
                    a.y_row, a.P - p, a.Q - q, a.clip, a.low, a.high)


cdef void mend_weights(const WinogradWeight* a, Py_ssize_t block, Py_ssize_t k, Py_ssize_t c,
                       real* dw) noexcept nogil:
    # the gradient to the taps x taps weights between two channels, from one block of images; one in each vector
    cdef const real* x = <const real*> a.x + (block * a.C + c) * a.H * a.W * LANES
    cdef const real* dy = <const real*> a.dy + (block * a.K + k) * a.P * a.Q * LANES
    cdef Py_ssize_t live = a.live if block == a.N - 1 else LANES
    cdef int r, s
    for r in range(a.taps):
        for s in range(a.taps):
            dw[(r * a.taps + s) * LANES] = vec_sum_first(
                tap_sum(x, dy, a.H, a.W, a.P, a.Q, 1, 1, r - a.top, s - a.left), live)
