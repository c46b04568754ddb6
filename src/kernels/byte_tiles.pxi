# Networks of bytes with the tiles of AMX: convolutions; all else is done by the kernels for VNNI.
#
# A tile of x has a row for each of 16 pixels, 16 taps of four bytes side by side; a tile of weights has a row for each of
# these taps, four bytes of each of 16 channels, as they lie in memory.  Two by two they make four tiles of sums.

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cnn_ext._kernels_avx512_vnni_i8 import table

include "byte_results.pxi"

cdef extern from "tiles.h" nogil:
    ctypedef struct tile_shapes:
        pass
    tile_shapes tile_shapes_none()
    void tile_shape(tile_shapes*, int, int, int)
    void tiles_begin(const tile_shapes*)
    void tiles_end()
    void tile_load(int, const void*, Py_ssize_t)
    void tile_store(int, void*, Py_ssize_t)
    void tile_dot_bytes(int, int, int)
    void tile_line(void*, const void*, int)

cdef enum:
    MOST_ROWS = 16             # pixels or taps of a tile
    TILE_BYTES = 1024
    LEAST_PIXELS = 8           # of a convolution that is worth tiles

cdef struct Lines:             # where a tile of x is loaded from
    const unsigned char* first
    Py_ssize_t apart

cdef struct Pixels:            # of a tile or two, or of four that give the largest of each four pixels
    Py_ssize_t first[4]
    int tiles, rows, width     # of a tile: pixels, taps
    ints (*sums)[8]            # a column for each tile of them
    Lines* lines               # of each tile, for all parts of the taps
    unsigned char* room        # for copies of them


cdef inline Py_ssize_t parts_of(Py_ssize_t taps) noexcept nogil:
    return (taps + MOST_ROWS - 1) // MOST_ROWS


cdef inline int most_tiles(const ByteConv* a) noexcept nogil:
    return 4 if a.each == 4 else 2


cdef inline bint tiles_pay(Py_ssize_t pixels, Py_ssize_t taps) noexcept nogil:
    # By cycles for 16 channels: two products of vectors take one, a product of tiles 16 and its loads as many, and their
    # sums come and go in 64.  From what Intel says of them, not measured.
    return pixels >= LEAST_PIXELS and parts_of(pixels) * (64 + 32 * parts_of(taps)) < pixels * taps // 2


cdef inline int run_of(const Py_ssize_t* places, Py_ssize_t apart, int most) noexcept nogil:
    # how many from the first on are so far apart, `most` at the most
    cdef int count = 1
    while count < most and places[count] - places[count - 1] == apart:
        count += 1
    return count


cdef inline void take_lines(const ByteConv* a, const Pixels* p) noexcept nogil:
    # Finds the lines of all tiles of x: in x itself where they are evenly apart, else in a copy.  The last part of the
    # taps ends with them, and has zeros for those that were in the part before.
    cdef const unsigned char* x = <const unsigned char*> a.x
    cdef const Py_ssize_t* pixel
    cdef const Py_ssize_t* tap
    cdef Lines* lines = p.lines
    cdef unsigned char* room = p.room
    cdef Py_ssize_t apart, t
    cdef int tile, row, i, count, before
    cdef bint even
    for tile in range(p.tiles):
        pixel = a.x_pixel + p.first[tile]
        apart = pixel[1] - pixel[0]
        even = run_of(pixel, apart, p.rows) == p.rows
        t = 0
        while t < a.taps:
            before = <int> max(<Py_ssize_t> 0, t + p.width - a.taps)
            tap = a.x_tap + t - before
            if even and not before and run_of(tap, 4, p.width) == p.width:
                lines.first, lines.apart = x + pixel[0] + tap[0], apart
            else:
                lines.first, lines.apart = room, 4 * MOST_ROWS
                if before:
                    memset(room, 0, TILE_BYTES)
                i = before
                while i < p.width:
                    count = run_of(tap + i, 4, p.width - i)
                    for row in range(p.rows):
                        tile_line(room + row * (4 * MOST_ROWS) + 4 * i, x + pixel[row] + tap[i], 4 * count)
                    i += count
            lines += 1
            room += TILE_BYTES
            t += p.width


cdef inline void sum_tiles(const ByteConv* a, const Pixels* p, int tile, Py_ssize_t block, bint both) noexcept nogil:
    # of a tile and the one behind it, if there is one, and of one block of channels, or `both`
    cdef const float* start = <const float*> a.terms + block * INTS
    cdef const char* w = <const char*> a.w + block * a.taps * (4 * INTS)
    cdef const Lines* lines = p.lines + tile * parts_of(a.taps)
    cdef const Lines* second = lines + parts_of(a.taps)
    cdef ints (*sums)[8]
    cdef Py_ssize_t other = a.taps * (4 * INTS), t = 0
    sums = <ints (*)[8]> &p.sums[0][2 * tile]
    tile_load(0, start, 0)  # the same in every row
    tile_load(2, start, 0)
    if both:
        tile_load(1, start + INTS, 0)
        tile_load(3, start + INTS, 0)
    while t < a.taps:
        t = min(t, a.taps - p.width)
        tile_load(4, lines.first, lines.apart)
        tile_load(6, w + t * (4 * INTS), 4 * INTS)
        tile_dot_bytes(0, 4, 6)
        if both:
            tile_load(7, w + other + t * (4 * INTS), 4 * INTS)
            tile_dot_bytes(1, 4, 7)
        if p.tiles - tile > 1:
            tile_load(5, second.first, second.apart)
            tile_dot_bytes(2, 5, 6)
            if both:
                tile_dot_bytes(3, 5, 7)
        lines += 1
        second += 1
        t += p.width
    tile_store(0, &sums[0][0], sizeof(sums[0]))
    tile_store(2, &sums[0][2], sizeof(sums[0]))
    if both:
        tile_store(1, &sums[0][1], sizeof(sums[0]))
        tile_store(3, &sums[0][3], sizeof(sums[0]))


cdef inline void largest_tile(const Pixels* p) noexcept nogil:
    # of the sums of four tiles, as those of the first
    cdef int i, j, tile
    for i in range(p.rows):
        for j in range(2):
            for tile in range(1, 4):
                p.sums[i][j] = ints_larger(p.sums[i][j], p.sums[i][2 * tile + j])


cdef void tiled_conv(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a tile that hangs over begins earlier
    cdef const ByteConv* a = <const ByteConv*> args
    cdef ByteTask own = byte_task(a, task)
    cdef Pixels p
    cdef ints (*sums)[8]
    cdef Py_ssize_t pixel = own.first, block, j
    cdef tile_shapes shapes = tile_shapes_none()
    cdef int i, results
    if a.apart or not tiles_pay(own.last - own.first, a.taps):
        VECTORS.conv(args, task, scratch)
        return
    p.rows, p.width = <int> min(own.last - own.first, MOST_ROWS), <int> min(a.taps, MOST_ROWS)
    p.sums = <ints (*)[8]> scratch
    p.room = <unsigned char*> (p.sums + MOST_ROWS)
    p.lines = <Lines*> (p.room + most_tiles(a) * parts_of(a.taps) * TILE_BYTES)
    for i in range(4):
        tile_shape(&shapes, i, p.rows, 4 * INTS)
    for i in range(2):
        tile_shape(&shapes, 4 + i, p.rows, 4 * p.width)
        tile_shape(&shapes, 6 + i, p.width, 4 * INTS)
    tiles_begin(&shapes)
    while pixel < own.last:
        if a.each == 4:
            p.tiles, results = 4, 1
        else:
            p.tiles = results = 2 if own.last - pixel > p.rows else 1
        for i in range(p.tiles):
            p.first[i] = min(pixel + i % results * p.rows, own.last - p.rows) + i // results * a.pixels
        take_lines(a, &p)
        block = own.block
        while block < own.end:
            for i in range(0, p.tiles, 2):
                sum_tiles(a, &p, i, block, own.end - block > 1)
            if a.each == 4:
                largest_tile(&p)
            for j in range(min(own.end - block, 2)):
                for i in range(results):
                    sums = <ints (*)[8]> &p.sums[0][2 * i + j]
                    tile_results(a, sums, p.first[i], own.last, block + j, own.end, p.rows, 1, False)
            block += 2
        pixel += results * p.rows
    tiles_end()


cdef long long tiled_conv_scratch(const void* args) noexcept nogil:
    cdef const ByteConv* a = <const ByteConv*> args
    if a.pixels < LEAST_PIXELS:
        return 0
    return (MOST_ROWS * 8 * <long long> sizeof(ints)
            + most_tiles(a) * parts_of(a.taps) * <long long> (TILE_BYTES + sizeof(Lines)))


cdef const ByteTable* VECTORS = <const ByteTable*> PyCapsule_GetPointer(table, "cnn_ext.bytes")
cdef ByteTable TABLE = VECTORS[0]
TABLE.conv = tiled_conv
TABLE.conv_scratch = tiled_conv_scratch

table = PyCapsule_New(&TABLE, "cnn_ext.bytes", NULL)
