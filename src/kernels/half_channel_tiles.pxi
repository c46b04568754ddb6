# One image with the tiles of AMX.
#
# A tile of scalars has a row for each of 16 pixels, a unit of pairs side by side; a tile of vectors has a row for each of
# these pairs, of 16 output channels.  Pixels of neighbouring rows of y follow each other as well, with those between them
# that are nobody's.

cdef long long channels_scratch(const void* args) noexcept nogil:
    # where the terms lie in w
    return (<const HalfChannels*> args).taps * <long long> sizeof(Py_ssize_t)


cdef inline void take_pixels(const HalfChannels* a, const Tile* t, const vec* sums, Py_ssize_t pixel, int rows,
                             Py_ssize_t block) noexcept nogil:
    # what the rows of a tile become in y
    cdef real* y = <real*> a.y + block * a.y_plane
    cdef Py_ssize_t p = pixel // a.across, q = pixel % a.across
    cdef vec bias = (<const vec*> (<const real*> a.bias + block * LANES))[0], value
    cdef int i
    for i in range(rows):
        if q < a.Q:
            value = sums[i] + bias
            if t.clip:
                value = vec_clip(value, t.low, t.high)
            (<vec*> (y + p * a.y_row + q * LANES))[0] = value
        q += 1
        if q == a.across:
            p, q = p + 1, 0


cdef inline Py_ssize_t next_pixel(const HalfChannels* a, Py_ssize_t pixel) noexcept nogil:
    # this one, or the first of the next row if it is nobody's
    cdef Py_ssize_t q = pixel % a.across
    return pixel if q < a.Q else pixel - q + a.across


cdef void channels(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (blocks, rows); a tile that hangs over begins earlier
    cdef const HalfChannels* a = <const HalfChannels*> args
    cdef Py_ssize_t cuts = (a.P + a.rows - 1) // a.rows, top = task % cuts * a.rows, block = task // cuts * a.block_cut
    cdef Py_ssize_t last = min(a.blocks, block + a.block_cut), first = top * a.across, pixel, upper, lower, i
    cdef Py_ssize_t end = (min(a.P, top + a.rows) - 1) * a.across + a.Q, each
    cdef int rows = <int> min(end - first, <Py_ssize_t> ROWS)
    cdef Py_ssize_t* term = <Py_ssize_t*> scratch
    cdef const real* w
    cdef bint down, across
    cdef vec sums[4][ROWS]
    cdef Tile t
    take_channels(a, &t)
    t.vector_inner, t.line, t.unit, each = term, a.x_pixel, a.unit, a.units * t.vector_outer_step
    for i in range(a.taps):
        term[i] = i * a.unit * LANES
    begin_tiles(&t, rows)
    while block < last:
        w, across, pixel = t.vector + block * each, block + 1 < last, first
        while pixel < end:
            upper = min(pixel, end - rows)
            lower = next_pixel(a, upper + rows)
            down = lower < end
            lower = min(lower, end - rows)
            pixel = next_pixel(a, lower + rows) if down else end
            four_sums(&t, t.scalar + upper * a.x_pixel, t.scalar + lower * a.x_pixel, w, w + each, down, across, sums)
            take_pixels(a, &t, sums[0], upper, rows, block)
            if across:
                take_pixels(a, &t, sums[1], upper, rows, block + 1)
            if down:
                take_pixels(a, &t, sums[2], lower, rows, block)
                if across:
                    take_pixels(a, &t, sums[3], lower, rows, block + 1)
        block += 2
    tiles_end()
