# The gradient to the weights in Winograd's way, F(R x R, 4 x 4): dw is what a filter of 4 x 4 gradients
# gives R x R taps of n x n pixels, summed over the tiles and images.  The transforms are those of
# `winograd.pxi`.  At each frequency the sums of products over tiles and images are a product of
# matrices, the inner loop of `tile.pxi` again: the channels of one side, input or gradient, are rows of
# scalars, those of the other one are turned into the lanes, where images were.  What is left is
# transformed back once.  A task is one block of images, its pieces some of the columns each; what it leaves has still
# the columns in the lanes,
#
#     part[row, group of LANES columns, tap, lane],
#
# and only the sum over all blocks is brought into the order of the weights.

cdef enum:
    SET = 8                    # images whose products are added up one after the other, if a block has so many
    SLAB = 30                  # rows, and
    STRIP = 64                 # columns, whose transforms and sums lie in the second-level cache together


cdef struct Sides:
    Py_ssize_t rows, cols      # channels
    Py_ssize_t slab, groups    # rows a slab; groups of LANES columns a strip
    Py_ssize_t tiles, sets     # of a block
    Py_ssize_t row_step, col_step, sum_step  # vectors from frequency to frequency
    Py_ssize_t set_step        # and from the sums of a set of images to those of the next
    bint gradients_across      # the columns are channels of dy


cdef inline Sides sides_of(const WinogradWeight* a) noexcept nogil:
    cdef Sides s
    s.gradients_across = fewer_lanes_are_empty(a.K, a.C)
    s.rows = a.C if s.gradients_across else a.K
    s.cols = a.K if s.gradients_across else a.C
    s.groups = min(STRIP // LANES, groups_of(s.cols))
    s.tiles = ((a.P + 3) // 4) * ((a.Q + 3) // 4)
    s.slab = min(SLAB, s.rows) if a.chunk >= s.tiles else s.rows
    s.row_step = odd_step(s.rows * a.chunk)
    s.col_step = odd_step(s.groups * LANES * a.chunk)
    s.sum_step = odd_step(s.slab * s.groups)
    s.set_step = (a.taps + 3) * (a.taps + 3) * s.sum_step
    s.sets = max(1, LANES // SET)
    return s


cdef long long winograd_weight_scratch(const void* args) noexcept nogil:
    # the arrays of `winograd_weight`
    cdef const WinogradWeight* a = <const WinogradWeight*> args
    cdef Sides s = sides_of(a)
    cdef long long vectors = s.row_step + s.col_step + s.sets * s.sum_step
    return (((a.taps + 3) * (a.taps + 3) * vectors + s.slab * s.groups) * sizeof(vec)
            + (2 * s.groups + a.chunk * (4 + 8 * LANES)) * sizeof(Py_ssize_t))


cdef void channel_square(const WinogradWeight* a, Py_ssize_t block, Py_ssize_t channel, Py_ssize_t tile,
                         bint of_dy, vec* out, Py_ssize_t step, int n) noexcept nogil:
    # the transform of one tile of a channel of x or dy; it goes in steps
    cdef Py_ssize_t across = (a.Q + 3) // 4, p = tile // across * 4, q = tile % across * 4
    if of_dy:
        gradient_square(<const real*> a.dy + (block * a.K + channel) * a.P * a.Q * LANES, a.P, a.Q, p, q, out,
                        step, n)
    else:
        input_square(<const real*> a.x + (block * a.C + channel) * a.H * a.W * LANES, a.W * LANES, a.H, a.W,
                     p - a.top, q - a.left, out, step, n)


cdef void turned_squares(const WinogradWeight* a, Py_ssize_t block, Py_ssize_t channel, Py_ssize_t channels,
                         Py_ssize_t tile, bint of_dy, vec* out, Py_ssize_t step, int n) noexcept nogil:
    # the transforms of one tile of so many channels, in lanes: a vector for each image
    cdef Py_ssize_t l, f
    for l in range(LANES):
        if l < channels:
            channel_square(a, block, channel + l, tile, of_dy, out + l, step, n)
        else:
            for f in range(n * n):
                out[f * step + l] = VEC_ZERO
    for f in range(n * n):
        vec_turn(out + f * step)


cdef void sum_terms(const Py_ssize_t* tiles, Py_ssize_t count, Py_ssize_t first, Py_ssize_t images,
                    Py_ssize_t* terms, Py_ssize_t more) noexcept nogil:
    # where the vectors of so many tiles and, from `first` on, images lie and, in `more` numbers, the scalars
    cdef Py_ssize_t t, l
    for t in range(count):
        for l in range(images):
            terms[t * images + l] = (tiles[t] * LANES + first + l) * LANES
            terms[more + t * images + l] = tiles[t] * LANES + first + l


cdef void winograd_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const WinogradWeight* a = <const WinogradWeight*> args
    cdef int n = a.taps + 3, shape, kind, f
    cdef Sides s = sides_of(a)
    cdef Py_ssize_t block = task // a.cut, piece = task % a.cut, across = groups_of(s.cols)
    cdef Py_ssize_t begin = across * piece // a.cut * LANES, end = min(s.cols, across * (piece + 1) // a.cut * LANES)
    cdef Py_ssize_t live = a.live if block == a.N - 1 else LANES
    cdef Py_ssize_t first, count, row, rows, col = begin, groups, g, t, i, each = min(SET, LANES)
    cdef Py_ssize_t sets = (live + each - 1) // each
    cdef vec* scalars = <vec*> scratch                # (n * n, rows, count)
    cdef vec* vectors = scalars + n * n * s.row_step  # (n * n, groups, count, LANES images)
    cdef vec* sums = vectors + n * n * s.col_step     # (sets, n * n, slab, groups)
    cdef vec* more = sums + s.sets * s.set_step       # (slab, groups)
    cdef vec* here
    cdef Py_ssize_t* table = <Py_ssize_t*> (more + s.slab * s.groups)
    cdef Py_ssize_t* tiles = table + 2 * s.groups
    cdef Py_ssize_t* terms = tiles + 4 * a.chunk      # of a kind of frequency and a set: of vectors, of scalars
    cdef Py_ssize_t counts[4]
    cdef Tile product
    memset(&product, 0, sizeof(product))
    product.outer = 1
    product.vector_col = table
    product.out_col = table + s.groups
    while col < end:
        groups = min(s.groups, groups_of(end - col))
        first = 0
        while first < s.tiles:
            count = min(a.chunk, s.tiles - first)
            needed_tiles(a.P, a.Q, first, count, tiles, counts)
            for kind in range(4):
                for i in range(sets):
                    sum_terms(tiles + kind * count, counts[kind], i * each, min(each, live - i * each),
                              terms + (kind * s.sets + i) * 2 * a.chunk * each, a.chunk * each)
            if col == begin or count < s.tiles:
                for row in range(s.rows):
                    for t in range(count):
                        channel_square(a, block, row, first + t, not s.gradients_across, scalars + row * count + t,
                                       s.row_step, n)
            for g in range(groups):
                for t in range(count):
                    turned_squares(a, block, col + g * LANES, s.cols - col - g * LANES, first + t,
                                   s.gradients_across, vectors + (g * count + t) * LANES, s.col_step, n)
                table[g] = g * count * LANES * LANES
                table[s.groups + g] = g * LANES
            product.cols, product.out_row_step = groups, groups * LANES
            product.scalar_row_step = count * LANES
            row = 0
            while row < s.rows:
                rows = min(s.slab, s.rows - row)
                shape = best_tile(rows, groups, 2, 16)
                for f in range(n * n):
                    kind = infinite(f, n)
                    product.scalar = <const real*> (scalars + f * s.row_step + row * count)
                    product.vector = <const real*> (vectors + f * s.col_step)
                    for i in range(sets):
                        here = sums + i * s.set_step + f * s.sum_step
                        product.inner = counts[kind] * min(each, live - i * each)
                        product.vector_inner = terms + (kind * s.sets + i) * 2 * a.chunk * each
                        product.scalar_inner = product.vector_inner + a.chunk * each
                        product.out = <real*> (more if first else here)
                        run_tiles(&product, 0, rows, shape)
                        if first:
                            for g in range(rows * groups):
                                here[g] += more[g]
                if first + count == s.tiles:
                    for g in range(groups):
                        weights_of(a, &s, block, sums + g, sets, groups, row, rows, col + g * LANES, n - 3)
                row += rows
            first += count
        col += groups * LANES


cdef inline void weights_of(const WinogradWeight* a, const Sides* s, Py_ssize_t block, const vec* sums,
                            Py_ssize_t sets, Py_ssize_t step, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t col,
                            int taps) noexcept nogil:
    # transforms the sums of so many rows from `first` on and the group of columns from `col` on back, adds up those of
    # the sets of images, and does again what is not finite; the rows of sums go in steps
    cdef int squared = taps * taps, lanes = <int> min(LANES, s.cols - col), i, l
    cdef Py_ssize_t apart = groups_of(s.cols) * squared  # from row to row of the part
    cdef vec* part = <vec*> a.sums + (block * s.rows + first) * apart + col // LANES * squared
    cdef vec more[25]
    cdef vec total, lost = VEC_ZERO
    cdef Py_ssize_t row, set
    for row in range(rows):
        output_square(sums + row * step, s.sum_step, part + row * apart, taps + 3, taps, 0)
        for set in range(1, sets):  # there are two at most
            output_square(sums + set * s.set_step + row * step, s.sum_step, more, taps + 3, taps, 0)
            for i in range(squared):
                part[row * apart + i] += more[i]
        total = part[row * apart]
        for i in range(1, squared):
            total += part[row * apart + i]
        lost += not_finite(total)
    if vec_sum(lost) == 0:
        return
    for row in range(rows):
        for l in range(lanes):
            if is_lost(<const real*> (part + row * apart) + l, squared):
                if s.gradients_across:
                    mend_weights(a, block, col + l, first + row, <real*> (part + row * apart) + l)
                else:
                    mend_weights(a, block, first + row, col + l, <real*> (part + row * apart) + l)


cdef inline bint is_lost(const real* x, int count) noexcept nogil:
    cdef real total = 0
    cdef int i
    for i in range(count):
        total += x[i * LANES]
    return total - total != 0


cdef void gradient_square(const real* dy, Py_ssize_t P, Py_ssize_t Q, Py_ssize_t p, Py_ssize_t q, vec* u,
                          Py_ssize_t step, int n) noexcept nogil:
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
    if n == 6:
        filter_square(g, u, step, 6, 4)
    else:
        filter_square(g, u, step, 8, 4)


cdef Py_ssize_t weight_part(Py_ssize_t C, Py_ssize_t K, Py_ssize_t taps) noexcept nogil:
    # numbers of a part
    if fewer_lanes_are_empty(K, C):
        return C * groups_of(K) * taps * LANES
    return K * groups_of(C) * taps * LANES


cdef void weight_order(const void* args, Py_ssize_t k, char* scratch) noexcept nogil:
    # the weights of an output channel, from the part that is the sum of all
    cdef const WeightOrder* a = <const WeightOrder*> args
    cdef bint across = fewer_lanes_are_empty(a.K, a.C)
    cdef Py_ssize_t groups = groups_of(a.K if across else a.C), row, col, c, i
    cdef const real* part
    cdef real* dw = <real*> a.dw + k * a.C * a.taps
    for c in range(a.C):
        row, col = (c, k) if across else (k, c)
        part = <const real*> a.part + (row * groups + col // LANES) * a.taps * LANES + col % LANES
        for i in range(a.taps):
            dw[i] = part[i * LANES]
        dw += a.taps
