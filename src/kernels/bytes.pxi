# Networks of bytes: all kernels of one instruction set, gathered into a table of functions.
#
# Sums are integers, so they are the same in any order.  What makes a byte of one is a product, a sum and a rounding,
# compiled without multiply-adds: all instruction sets agree.

from libc.math cimport NAN, rintf
from libc.string cimport memset

include "byte_results.pxi"

cdef extern from "dot.h" nogil:
    enum: DOT_OFFSET
    enum: PIX0, PIX1, PIX2, PIX3, PIX4, PIX5, PIX6, VEC0, VEC1, VEC2, VEC3, VEC4, VEC5, VEC6
    int best_byte_tile(Py_ssize_t results, int each, Py_ssize_t vectors, Py_ssize_t taps)
    const unsigned char* held_address(const unsigned char*)
    ints ints_all(const unsigned char*)
    ints ints_dot(ints, ints, ints)
    ints ints_of_bytes(const unsigned char*, int)
    floats numbers_same(float)
    void bytes_largest(unsigned char*, const unsigned char**, int, Py_ssize_t, int)
    ints ints_times(ints, ints, ints)
    ints ints_shifted(ints, int)
    void bytes_beside(unsigned char*, ints, int, Py_ssize_t)
    floats numbers_some(const float*, int)
    ints numbers_odd(floats)
    bint ints_any(ints)


cdef inline void byte_tile(const ByteConv* a, Py_ssize_t first, Py_ssize_t last, Py_ssize_t block, Py_ssize_t end,
                           int pixels, int vectors) noexcept nogil:
    # All tiles of the results first..last-1 and of the blocks block..end-1.  Edges are clamped: a tile that hangs over
    # computes its last result or block again.  The four pixels of a result are in one tile or, if tiles are no
    # multiples of four, in four tiles of as many results.
    cdef ints acc[12][8]
    cdef ints largest[12][8]
    cdef ints held[8]
    cdef ints here
    cdef const unsigned char* at[12]
    cdef const char* w[8]
    cdef const Py_ssize_t* x_tap = a.x_tap
    cdef Py_ssize_t pixel, t, taps = a.taps
    cdef int i, j, turn, turns = 1 if pixels % 4 == 0 else a.each
    cdef int shift = 2 if pixels % 4 == 0 and a.each == 4 else 0
    while True:
        pixel = first
        for j in range(vectors):
            w[j] = <const char*> a.w + min(block + j, end - 1) * taps * (4 * INTS)
        while True:
            turn = 0
            while True:
                for i in range(pixels):
                    t = ((i & (1 << shift) - 1) + turn) * a.pixels + min(pixel + (i >> shift), last - 1)
                    at[i] = held_address(<const unsigned char*> a.x + a.x_pixel[t])
                for j in range(vectors):
                    here = ints_at(<const float*> a.terms + min(block + j, end - 1) * INTS)
                    for i in range(pixels):
                        acc[i][j] = here
                t = 0
                while True:
                    if vectors <= pixels:
                        for j in range(vectors):
                            held[j] = ints_at(w[j] + t * (4 * INTS))
                        for i in range(pixels):
                            here = ints_all(at[i] + x_tap[t])
                            for j in range(vectors):
                                acc[i][j] = ints_dot(acc[i][j], here, held[j])
                    else:
                        for i in range(pixels):
                            held[i] = ints_all(at[i] + x_tap[t])
                        for j in range(vectors):
                            here = ints_at(w[j] + t * (4 * INTS))
                            for i in range(pixels):
                                acc[i][j] = ints_dot(acc[i][j], held[i], here)
                    t += 1
                    if t >= taps:
                        break
                if turn > 0:
                    for i in range(pixels):
                        for j in range(vectors):
                            acc[i][j] = ints_larger(acc[i][j], largest[i][j])
                turn += 1
                if turn >= turns:
                    break
                for i in range(pixels):
                    for j in range(vectors):
                        largest[i][j] = acc[i][j]
            if shift:
                tile_largest(acc, pixels, vectors)
            tile_results(a, acc, pixel, last, block, end, pixels, vectors, shift)
            pixel += pixels >> shift
            if pixel >= last:
                break
        block += vectors
        if block >= end:
            break


cdef inline void apart_tile(const ByteConv* a, Py_ssize_t pixel, Py_ssize_t last, Py_ssize_t block,
                            int n) noexcept nogil:
    # four results of a block of n channels that are apart
    cdef ints acc[4][8]
    cdef ints weights
    cdef const unsigned char* at[4]
    cdef const char* w = <const char*> a.w + block * a.taps * (4 * INTS)
    cdef Py_ssize_t t
    cdef int i
    for i in range(4):
        acc[i][0] = ints_at(<const float*> a.terms + block * INTS)
        at[i] = held_address(<const unsigned char*> a.x + a.x_pixel[min(pixel + i, last - 1)] + block * INTS)
    for t in range(a.taps):
        weights = ints_at(w + t * (4 * INTS))
        for i in range(4):
            acc[i][0] = ints_times(acc[i][0], ints_of_bytes(at[i] + a.x_tap[t], n), weights)
    tile_results(a, acc, pixel, last, block, block + 1, 4, 1, False)


cdef inline void apart_conv(const ByteConv* a, const ByteTask* own) noexcept nogil:
    cdef Py_ssize_t pixel, block
    for block in range(own.block, own.end):
        pixel = own.first
        while pixel < own.last:
            if (block + 1) * INTS <= a.K:
                apart_tile(a, pixel, own.last, block, INTS)
            else:
                apart_tile(a, pixel, own.last, block, <int> (a.K - block * INTS))
            pixel += 4


cdef void byte_conv(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ByteConv* a = <const ByteConv*> args
    cdef ByteTask own = byte_task(a, task)
    cdef Py_ssize_t first = own.first, last = own.last, block = own.block, end = own.end
    cdef int shape
    if a.apart:
        apart_conv(a, &own)
        return
    shape = best_byte_tile(last - first, a.each, end - block, a.taps)
    if shape == 0:
        byte_tile(a, first, last, block, end, PIX0, VEC0)
    elif shape == 1:
        byte_tile(a, first, last, block, end, PIX1, VEC1)
    elif shape == 2:
        byte_tile(a, first, last, block, end, PIX2, VEC2)
    elif shape == 3:
        byte_tile(a, first, last, block, end, PIX3, VEC3)
    elif shape == 4:
        byte_tile(a, first, last, block, end, PIX4, VEC4)
    elif shape == 5:
        byte_tile(a, first, last, block, end, PIX5, VEC5)
    else:
        byte_tile(a, first, last, block, end, PIX6, VEC6)


cdef long long no_scratch(const void* args) noexcept nogil:
    return 0


cdef inline void maxima(const ByteWindow* a, Py_ssize_t p, Py_ssize_t q) noexcept nogil:
    # all channels of one pixel
    cdef const unsigned char* x = <const unsigned char*> a.x + a.x_first
    cdef unsigned char* y = <unsigned char*> a.y + a.y_first + p * a.y_row + q * a.C
    cdef const unsigned char* taps[16]
    cdef Py_ssize_t r, s, h, v
    cdef bint first = True
    cdef int count = 0
    for r in range(a.R):
        h = p * a.step_h + r * a.gap_h - a.top
        if <size_t> h >= <size_t> a.H:
            continue
        for s in range(a.S):
            v = q * a.step_w + s * a.gap_w - a.left
            if <size_t> v < <size_t> a.W:
                taps[count] = x + h * a.x_row + v * a.C
                count += 1
                if count == 16:
                    bytes_largest(y, taps, count, a.C, first)
                    first, count = False, 0
    if count:
        bytes_largest(y, taps, count, a.C, first)
    elif first:
        memset(y, 0, a.C)


cdef inline void mean(const ByteWindow* a, Py_ssize_t p, Py_ssize_t q, Py_ssize_t c, int n) noexcept nogil:
    # n <= INTS channels of one pixel
    cdef const unsigned char* x = <const unsigned char*> a.x + a.x_first + c
    cdef unsigned char* y = <unsigned char*> a.y + a.y_first + p * a.y_row + q * a.C + c
    cdef ints total = ints_same(0), here
    cdef floats number
    cdef Py_ssize_t r, s, h, v, inside = 0
    for r in range(a.R):
        h = p * a.step_h + r * a.gap_h - a.top
        if <size_t> h >= <size_t> a.H:
            continue
        for s in range(a.S):
            v = q * a.step_w + s * a.gap_w - a.left
            if <size_t> v >= <size_t> a.W:
                continue
            here = ints_of_bytes(x + h * a.x_row + v * a.C, n)
            inside += 1
            total = total + here
    total = total - ints_same(<int> (inside * a.zero_x))
    number = ints_numbers(total) * numbers_same(a.scale / <float> (a.counts if a.counts else inside))
    bytes_store(y, numbers_rounded(number, a.low, a.high) + a.zero, n)


cdef void byte_window(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a row of pixels
    cdef const ByteWindow* a = <const ByteWindow*> args
    cdef Py_ssize_t q, c
    for q in range(a.Q):
        if a.op == BYTE_MAX:
            maxima(a, task, q)
            continue
        c = 0
        while a.C - c >= INTS:
            mean(a, task, q, c, INTS)
            c += INTS
        if c < a.C:
            mean(a, task, q, c, <int> (a.C - c))


cdef void byte_add(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a row
    cdef const ByteAdd* a = <const ByteAdd*> args
    cdef const unsigned char* first = <const unsigned char*> a.a + a.a_first + task * a.a_row
    cdef const unsigned char* second = <const unsigned char*> a.b + a.b_first + task * a.b_row
    cdef unsigned char* y = <unsigned char*> a.y + a.y_first + task * a.y_row
    cdef floats x
    cdef Py_ssize_t i = 0
    cdef int n
    while i < a.count:
        n = <int> min(<Py_ssize_t> INTS, a.count - i)
        x = ints_numbers(ints_of_bytes(first + i, n) - ints_same(a.zero_a)) * numbers_same(a.scale_a)
        x = x + ints_numbers(ints_of_bytes(second + i, n) - ints_same(a.zero_b)) * numbers_same(a.scale_b)
        bytes_store(y + i, numbers_rounded(x, a.low, a.high) + a.zero, n)
        i += INTS


cdef inline ints row_to_bytes(const ByteCast* a, const Py_ssize_t* place, unsigned char* y, int n,
                              ints odd) noexcept nogil:
    # a row of n channels, 1 to 4, each of which lies side by side in x; `odd`, and the places where there is NaN
    cdef const float* x = <const float*> a.x
    cdef Py_ssize_t w = 0, plane = a.H * a.W
    cdef floats here
    cdef ints whole
    cdef int i
    while a.W >= INTS and w < a.W:
        w = min(w, a.W - INTS)  # the last vector overlaps
        whole = ints_same(0)
        for i in range(n):
            here = numbers_at(x + place[i * plane] + w)
            odd = odd | numbers_odd(here)
            here = here / numbers_same(a.scale)
            whole = whole | ints_shifted(numbers_rounded(here, a.low, a.high) + a.zero, 8 * i)
        if a.C == 1:
            bytes_store(y + w, whole, INTS)
        else:
            bytes_beside(y + w * a.C, whole, n, a.C)
        w += INTS
    while w < a.W:
        for i in range(n):
            odd = odd | numbers_odd(numbers_same(x[place[i * plane] + w]))
            y[w * a.C + i] = one_to_byte(a, x[place[i * plane] + w])
        w += 1
    return odd


cdef inline ints pixel_to_bytes(const ByteCast* a, const Py_ssize_t* place, unsigned char* y, ints odd) noexcept nogil:
    # all channels of one pixel, whose vectors lie side by side in x
    cdef Py_ssize_t c = 0
    cdef int n
    cdef floats here
    while c < a.C:
        n = <int> min(<Py_ssize_t> INTS, a.C - c)
        here = numbers_some(<const float*> a.x + place[c * a.H * a.W], n)
        odd = odd | numbers_odd(here)
        bytes_store(y + c, numbers_rounded(here / numbers_same(a.scale), a.low, a.high) + a.zero, n)
        c += INTS
    return odd


cdef inline unsigned char one_to_byte(const ByteCast* a, float v) noexcept nogil:
    v = v / a.scale
    v = a.high if v > a.high else v if v > a.low else a.low
    return <unsigned char> (<int> rintf(v) + a.zero)


cdef inline ints rows_to_bytes(const ByteCast* a, const Py_ssize_t* place, unsigned char* y, ints odd) noexcept nogil:
    # a row of all channels
    cdef Py_ssize_t c = 0
    if a.C == 1:
        return row_to_bytes(a, place, y, 1, odd)
    if a.C == 3:
        return row_to_bytes(a, place, y, 3, odd)
    while c < a.C:
        odd = row_to_bytes(a, place + c * a.H * a.W, y + c, <int> min(<Py_ssize_t> 4, a.C - c), odd)
        c += 4
    return odd


cdef void byte_cast(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ByteCast* a = <const ByteCast*> args
    cdef const unsigned char* x = <const unsigned char*> a.x
    cdef const float* numbers = <const float*> a.x
    cdef unsigned char* y = <unsigned char*> a.y
    cdef Py_ssize_t c, h, w, at
    cdef const Py_ssize_t* place
    cdef ints odd = ints_same(0)
    cdef float found
    for h in range(a.H):
        place, at = a.places + h * a.W, a.first + h * a.row
        if a.pixels:
            for w in range(a.W):
                odd = pixel_to_bytes(a, place + w, y + at + w * a.C, odd)
            continue
        if a.rows:
            odd = rows_to_bytes(a, place, y + at, odd)
            continue
        for c in range(a.C):
            if a.back:
                for w in range(a.W):
                    (<float*> a.y)[place[w]] = <float> (<int> x[at + w * a.C] - a.zero) * a.scale
            elif a.as_they_are:
                for w in range(a.W):
                    y[at + w * a.C] = x[place[w]]
            else:
                for w in range(a.W):
                    odd = odd | numbers_odd(numbers_same(numbers[place[w]]))
                    y[at + w * a.C] = one_to_byte(a, numbers[place[w]])
            place += a.H * a.W
            at += 1
    if a.odd != NULL:
        found = NAN if ints_any(odd) else 0.0
        for w in range(a.odds):
            (<float*> a.odd)[w] = found


cdef void byte_fill(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ByteFill* a = <const ByteFill*> args
    memset(a.y, a.value, a.count)


cdef ByteTable TABLE
TABLE.ints, TABLE.offset = INTS, DOT_OFFSET
TABLE.conv = byte_conv
TABLE.conv_scratch = no_scratch
TABLE.window = byte_window
TABLE.add = byte_add
TABLE.cast = byte_cast
TABLE.fill = byte_fill

table = PyCapsule_New(&TABLE, "cnn_ext.bytes", NULL)
