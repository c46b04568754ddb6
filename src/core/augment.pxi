# Augmented images: chance, and the one pass that moves, colours and covers every image of a batch by a row
# of numbers of its own, on plain arrays (N, C, H, W) of bytes or floating-point numbers.

cdef extern from "kernels/hash.h" nogil:
    uint32_t hash_number(uint32_t x)
    uint32_t hash_word(uint32_t state, uint64_t word)

PADDING_MODES = {"constant": FILLED, "edge": EDGE, "reflect": REFLECTED}

cdef enum:
    FILLED, EDGE, REFLECTED    # what stands outside an image
    ROW = 12                   # numbers for an image: a matrix 2 x 3, gain and pull, a rectangle
    MIXED = 5                  # for a pair of them: a weight, a rectangle
    FINE_BITS = 11
    FINE = 1 << FINE_BITS      # steps of a pixel
    KNOTS = 4                  # of a displacement that a pixel depends on along an axis

cdef enum:
    FAR = 20000000             # no number of a matrix, no side and no displacement reaches it

ctypedef unsigned char byte
ctypedef fused pixel:
    byte
    float
    double


# ------------------------------------------------------------------------------------- chance

cdef struct Draw:
    const void* images
    void* y
    Py_ssize_t count
    uint32_t states[2]


cdef void draw(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # the numbers of one image
    cdef const Draw* a = <const Draw*> args
    cdef double* y = <double*> a.y + task * a.count
    cdef uint64_t image = (<const uint64_t*> a.images)[task], number
    cdef uint32_t high = hash_word(a.states[0], image), low = hash_word(a.states[1], image)
    cdef Py_ssize_t i
    for i in range(a.count):
        number = <uint64_t> hash_number(high ^ <uint32_t> i) << 32 | hash_number(low ^ <uint32_t> i)
        y[i] = <double> <long long> (number >> 11) * (1.0 / 9007199254740992.0)


def draws(images, y, uint64_t seed, uint64_t epoch, uint64_t number, Py_ssize_t N, Py_ssize_t count, /):
    """y[n, i], from 0 on and below 1: a hash of seed, epoch, a number, images[n] (uint64) and i alone."""
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Draw a
    cdef int half
    at_least(0, &N, 1)
    at_least(0, &count, 1)
    within_reach(&count, 1)
    a.images = uint64s(held, images, N, "images")
    a.y = held.pointer(y, (N, count), 8, True)
    a.count = count
    for half in range(2):
        a.states[half] = hash_word(hash_word(hash_word(half, seed), epoch), number)
    run(draw, &a, sizeof(a), 1, 1, N, 10.0 * N * count)


# ----------------------------------------------------------------------------------- one pass

cdef struct Augment:
    const void* x
    const void* rows
    const void* noise          # (N, 2, knots_h, knots_w), or NULL: images are not bent
    const void* weights_h      # (P, KNOTS)
    const void* weights_w      # (Q, KNOTS)
    void* y
    Py_ssize_t C, H, W, P, Q, knots_h, knots_w
    int itemsize, mode
    double spacing, fill, value


cdef struct Weights:
    # of four neighbours: of bytes, in steps of 1 / FINE^2, or of floating-point numbers
    int k00, k01, k10, k11
    double w00, w01, w10, w11


cdef long long inside(long long i, long long n, int mode) noexcept nogil:
    # the pixel of 0 ... n - 1 that stands at i; -1 for the fill
    cdef long long period = 2 * n - 2
    if 0 <= i < n:
        return i
    if mode == FILLED:
        return -1
    if mode == EDGE or n == 1:
        return 0 if i < 0 else n - 1
    i = (-i if i < 0 else i) % period
    return period - i if i >= n else i


cdef inline pixel stored(double v, const pixel* like) noexcept nogil:
    # bytes are rounded
    if pixel is byte:
        return 0 if not v > 0 else 255 if v >= 255 else <byte> (v + 0.5)
    else:
        return <pixel> v


cdef inline Py_ssize_t bounded(double v, Py_ssize_t n) noexcept nogil:
    return 0 if not v > 0 else n if v >= n else <Py_ssize_t> v


cdef pixel at(const pixel* x, long long i, long long j, const Augment* a, pixel fill) noexcept nogil:
    i, j = inside(i, a.H, a.mode), inside(j, a.W, a.mode)
    return fill if i < 0 or j < 0 else x[i * a.W + j]


cdef inline bint is_near(double v) noexcept nogil:
    # no NaN, and so small that FINE times a place is within the whole numbers of 64 bits
    return -FAR < v < FAR


cdef inline bint is_whole(double v) noexcept nogil:
    return <double> <long long> v == v


cdef void copy_image(const Augment* a, const pixel* x, pixel* y, const double* m) noexcept nogil:
    # rows and columns one by one, forward or backward
    cdef long long i, j, k, c, top = <long long> m[2], left = <long long> m[5]
    cdef long long down = <long long> m[0], right = <long long> m[4]
    # columns first ... end - 1 are inside
    cdef long long first = -left if right > 0 else left - a.W + 1
    cdef long long end = a.W - left if right > 0 else left + 1
    cdef pixel fill = stored(a.fill, x)
    cdef const pixel* source
    first = min(max(first, 0), a.Q)
    end = max(first, min(end, a.Q))
    for c in range(a.C):
        for i in range(a.P):
            k = inside(down * i + top, a.H, a.mode)
            if k < 0:
                for j in range(a.Q):
                    y[j] = fill
            else:
                source = x + (c * a.H + k) * a.W
                for j in range(first):
                    k = inside(right * j + left, a.W, a.mode)
                    y[j] = fill if k < 0 else source[k]
                if right > 0:
                    memcpy(y + first, source + left + first, (end - first) * sizeof(pixel))
                else:
                    for j in range(first, end):
                        y[j] = source[left - j]
                for j in range(end, a.Q):
                    k = inside(right * j + left, a.W, a.mode)
                    y[j] = fill if k < 0 else source[k]
            y += a.Q


cdef void bend_rows(const Augment* a, const double* noise, double* bent) noexcept nogil:
    # bent[d, k, j]: displacements between the columns of knots
    cdef Py_ssize_t k, j, t, last
    cdef const double* weights
    cdef double total
    for k in range(2 * a.knots_h):
        weights = <const double*> a.weights_w
        for j in range(a.Q):
            last = <Py_ssize_t> (j / a.spacing)
            total = 0
            for t in range(KNOTS):
                total += weights[t] * noise[last + t]
            bent[j] = total
            weights += KNOTS
        bent += a.Q
        noise += a.knots_w


cdef void bend_row(const Augment* a, const double* bent, Py_ssize_t i, double* moved) noexcept nogil:
    # moved[d, j]: displacements of the pixels of row i
    cdef Py_ssize_t d, t, j, Q = a.Q
    cdef const double* weights = <const double*> a.weights_h + i * KNOTS
    cdef const double* knots
    for d in range(2):
        knots = bent + (d * a.knots_h + <Py_ssize_t> (i / a.spacing)) * Q
        for j in range(Q):
            moved[j] = weights[0] * knots[j]
        for t in range(1, KNOTS):
            knots += Q
            for j in range(Q):
                moved[j] += weights[t] * knots[j]
        moved += Q


cdef inline pixel between(pixel x00, pixel x01, pixel x10, pixel x11, const Weights* w) noexcept nogil:
    if pixel is byte:
        return <byte> ((w.k00 * x00 + w.k01 * x01 + w.k10 * x10 + w.k11 * x11 + FINE * FINE // 2) >> 2 * FINE_BITS)
    else:
        return <pixel> (w.w00 * x00 + w.w01 * x01 + w.w10 * x10 + w.w11 * x11)


cdef void resample(const Augment* a, const pixel* x, pixel* y, const double* m, const double* noise,
                   double* scratch) noexcept nogil:
    # every pixel between four; those of bytes at steps of 1 / FINE, in whole numbers, which is faster
    cdef Py_ssize_t i, j, c, C = a.C, H = a.H, W = a.W, Q = a.Q, size = a.P * a.Q
    # not behind pointers, where a byte that is stored might change them
    cdef double steps = FINE if pixel is byte else 1
    cdef double m0 = m[0] * steps, m1 = m[1] * steps, m2 = m[2] * steps
    cdef double m3 = m[3] * steps, m4 = m[4] * steps, m5 = m[5] * steps
    cdef double* moved = scratch
    cdef double* bent = scratch + 2 * Q
    cdef double v, u, row, column
    cdef int fine_v, fine_u
    cdef long long top, left
    cdef Weights w
    cdef pixel fill = stored(a.fill, x)
    cdef const pixel* source
    cdef pixel* target
    if noise != NULL:
        bend_rows(a, noise, bent)
    for i in range(a.P):
        if noise != NULL:
            bend_row(a, bent, i, moved)
        for j in range(Q):
            row, column = i, j
            if noise != NULL:
                row += moved[j]
                column += moved[Q + j]
                if not (is_near(row) and is_near(column)):
                    row = column = -FAR
            v = m0 * row + m1 * column + m2
            u = m3 * row + m4 * column + m5
            top, left = <long long> v, <long long> u
            if pixel is byte:
                fine_v, fine_u = <int> (top & (FINE - 1)), <int> (left & (FINE - 1))
                top, left = top >> FINE_BITS, left >> FINE_BITS
                w.k11 = fine_v * fine_u
                w.k01, w.k10 = fine_u * FINE - w.k11, fine_v * FINE - w.k11
                w.k00 = FINE * FINE - fine_u * FINE - w.k10
            else:
                if v < top:
                    top -= 1
                if u < left:
                    left -= 1
                v -= top
                u -= left
                w.w11 = v * u
                w.w01, w.w10 = u - w.w11, v - w.w11
                w.w00 = 1 - u - w.w10
            target = y + i * Q + j
            if 0 <= top < H - 1 and 0 <= left < W - 1:
                source = x + top * W + left
                for c in range(C):
                    target[0] = between(source[0], source[1], source[W], source[W + 1], &w)
                    source += H * W
                    target += size
            else:
                source = x
                for c in range(C):
                    target[0] = between(at(source, top, left, a, fill), at(source, top, left + 1, a, fill),
                                        at(source, top + 1, left, a, fill),
                                        at(source, top + 1, left + 1, a, fill), &w)
                    source += H * W
                    target += size


cdef void paint(const Augment* a, pixel* y, double gain, double pull) noexcept nogil:
    # y = gain y + pull mean(y)
    cdef Py_ssize_t i, count = a.C * a.P * a.Q
    cdef double total = 0
    if pull != 0:
        for i in range(count):
            total += y[i]
        pull *= total / count
    for i in range(count):
        y[i] = stored(gain * y[i] + pull, y)


cdef void cover(const Augment* a, pixel* y, const double* rectangle) noexcept nogil:
    cdef Py_ssize_t c, i, j
    cdef Py_ssize_t top = bounded(rectangle[0], a.P), left = bounded(rectangle[1], a.Q)
    cdef Py_ssize_t bottom = bounded(rectangle[2], a.P), right = bounded(rectangle[3], a.Q)
    cdef pixel value = stored(a.value, y)
    for c in range(a.C):
        for i in range(top, bottom):
            for j in range(left, right):
                y[(c * a.P + i) * a.Q + j] = value


cdef void augment_one(const Augment* a, Py_ssize_t n, char* scratch, const pixel* x, pixel* y) noexcept nogil:
    cdef const double* row = <const double*> a.rows + n * ROW
    cdef const double* noise = NULL
    cdef double m[6]
    cdef int i
    memcpy(m, row, sizeof(m))
    for i in range(6):
        if not is_near(m[i]):
            m[i] = -FAR
    x += n * a.C * a.H * a.W
    y += n * a.C * a.P * a.Q
    if a.noise != NULL:
        noise = <const double*> a.noise + n * 2 * a.knots_h * a.knots_w
    if (noise == NULL and m[1] == 0 and m[3] == 0 and m[0] * m[0] == 1 and m[4] * m[4] == 1
            and is_whole(m[2]) and is_whole(m[5])):
        copy_image(a, x, y, m)
    else:
        resample(a, x, y, m, noise, <double*> scratch)
    if row[6] != 1 or row[7] != 0:
        paint(a, y, row[6], row[7])
    cover(a, y, row + 8)


cdef void augment_image(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Augment* a = <const Augment*> args
    if a.itemsize == 1:
        augment_one(a, task, scratch, <const byte*> a.x, <byte*> a.y)
    elif a.itemsize == 4:
        augment_one(a, task, scratch, <const float*> a.x, <float*> a.y)
    else:
        augment_one(a, task, scratch, <const double*> a.x, <double*> a.y)


cdef int check_images(int itemsize, const Py_ssize_t* N, const Py_ssize_t* sizes, int count) except -1:
    # channels and sides
    cdef int i
    if itemsize != 1 and itemsize != 4 and itemsize != 8:
        raise TypeError(f"expected numbers of 1, 4 or 8 bytes, got {itemsize}")
    at_least(0, N, 1)
    at_least(1, sizes, count)
    for i in range(count):
        if sizes[i] >= FAR:
            raise ValueError(f"expected sizes below {FAR}, got {sizes[i]}")
    return 0


def augment(x, rows, y, int itemsize, shape, mode, double fill, double value, noise, weights_h, weights_w,
            double spacing, /):
    """y (N, C, P, Q) of x (N, C, H, W), where `shape` is N, C, H, W, P, Q.

    `rows` has 12 numbers for each image.  The first six, a matrix (2, 3), tell the row and the column
    of x that pixel (i, j) of y shows, from (i, j, 1); what lies between pixels is interpolated, and
    outside stands `fill`, or what `mode`, one of PADDING_MODES, says.  Two more are gain and pull:
    every number becomes gain * number + pull * the mean of its image.  The last are top, left, bottom
    and right of a rectangle that gets `value`.  With `noise`, (N, 2, knots, knots), pixels are
    displaced first, downwards and to the right: pixel i depends on 4 knots of each axis from
    int(i / `spacing`) on, with the weights (P, 4) and (Q, 4).
    """
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Augment a
    cdef Py_ssize_t N
    cdef Py_ssize_t sizes[6]
    cdef double work = 10
    a.itemsize, a.mode, a.fill, a.value, a.spacing = itemsize, PADDING_MODES[mode], fill, value, spacing
    read_sizes(shape, sizes, 6)
    check_images(itemsize, sizes, sizes + 1, 5)
    N, a.C, a.H, a.W, a.P, a.Q = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    a.x = held.pointer(x, (N, a.C, a.H, a.W), itemsize)
    a.rows = held.pointer(rows, (N, ROW), 8)
    a.noise = a.weights_h = a.weights_w = NULL
    a.knots_h = a.knots_w = 0
    if noise is not None:
        if not spacing >= 1:
            raise ValueError(f"spacing: expected 1 or more, got {spacing}")
        a.knots_h = <Py_ssize_t> ((a.P - 1) / spacing) + KNOTS
        a.knots_w = <Py_ssize_t> ((a.Q - 1) / spacing) + KNOTS
        a.noise = held.pointer(noise, (N, 2, a.knots_h, a.knots_w), 8)
        a.weights_h = held.pointer(weights_h, (a.P, KNOTS), 8)
        a.weights_w = held.pointer(weights_w, (a.Q, KNOTS), 8)
        work = 50
    a.y = held.pointer(y, (N, a.C, a.P, a.Q), itemsize, True)
    # two rows of displacements and, between the columns of knots, two for each row of knots
    run(augment_image, &a, sizeof(a), 5, 1, N, work * N * a.P * a.Q, 16 * a.Q * (a.knots_h + 1))


# -------------------------------------------------------------------------------- two in one

cdef struct Mix:
    const void* x
    const void* other
    const void* rows
    void* y
    Py_ssize_t C, H, W
    int itemsize


cdef void mix_one(const Mix* a, Py_ssize_t n, const pixel* x, const pixel* other, pixel* y) noexcept nogil:
    cdef const double* row = <const double*> a.rows + n * MIXED
    cdef double weight = row[0], rest = 1 - weight
    cdef Py_ssize_t top = bounded(row[1], a.H), left = bounded(row[2], a.W)
    cdef Py_ssize_t bottom = bounded(row[3], a.H), right = bounded(row[4], a.W)
    cdef Py_ssize_t c, i, j, size = a.C * a.H * a.W
    x += n * size
    other += n * size
    y += n * size
    for i in range(size):
        y[i] = x[i] if rest == 0 else stored(weight * x[i] + rest * other[i], x)
    for c in range(a.C):
        for i in range(top, bottom):
            for j in range(left, right):
                y[(c * a.H + i) * a.W + j] = other[(c * a.H + i) * a.W + j]


cdef void mix_images(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Mix* a = <const Mix*> args
    if a.itemsize == 1:
        mix_one(a, task, <const byte*> a.x, <const byte*> a.other, <byte*> a.y)
    elif a.itemsize == 4:
        mix_one(a, task, <const float*> a.x, <const float*> a.other, <float*> a.y)
    else:
        mix_one(a, task, <const double*> a.x, <const double*> a.other, <double*> a.y)


def mix(x, other, rows, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t H, Py_ssize_t W, /):
    """y = weight x + (1 - weight) other, and other within a rectangle.

    `rows`, (N, 5), has the weight of each image, and top, left, bottom and right of the rectangle.
    """
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Mix a
    a.C, a.H, a.W, a.itemsize = C, H, W, itemsize
    check_images(itemsize, &N, &a.C, 3)
    a.x = held.pointer(x, (N, C, H, W), itemsize)
    a.other = held.pointer(other, (N, C, H, W), itemsize)
    a.rows = held.pointer(rows, (N, MIXED), 8)
    a.y = held.pointer(y, (N, C, H, W), itemsize, True)
    run(mix_images, &a, sizeof(a), 3, 1, N, 2.0 * N * C * H * W)
