# The arguments of the kernels of bytes, shared by their callers (core/bytes.pxi) and the loops (bytes.pxi).
#
# One image at a time; its pixels hold their channels side by side, (height, width, C), maybe within a border.  An
# unsigned byte q stands for the number (q - zero) * scale; weights are signed bytes.  `first` and `row` say where the
# first pixel of an image lies, and how far its rows are apart.

cdef struct ByteConv:
    # y[pixel, k] = scale[k] (start[k] + sum over taps of four bytes of x times four of w) + bias[k]: as a byte that is
    # rounded, between low and high, plus zero; or as a number, between low and high.  w lies in (blocks of INTS
    # channels, taps, INTS, 4), `terms` in (start, scale, bias; blocks; INTS), where start holds integers, with what makes
    # up for the offset of the table.  A result may be the largest of four, of so many pixels of x: x_pixel is (each,
    # pixels).  If channels are `apart`, each is a sum over taps of one byte of its own channel, whose weights are integers,
    # in (blocks, taps, INTS).  Numbers lie in vectors of INTS channels that are y_step apart.
    const void* x
    const void* w
    const void* terms
    void* y
    const Py_ssize_t* x_pixel
    const Py_ssize_t* y_pixel
    const Py_ssize_t* x_tap
    Py_ssize_t pixels, taps, blocks, K, y_step, pixel_cut, block_cut  # the cuts: of a task
    int each, apart, as_numbers, zero  # each: 1 or 4
    float low, high


cdef enum:
    BYTE_MAX, BYTE_MEAN

cdef struct ByteWindow:
    # y[p, q, c] of a window of R x S pixels of channel c alone: the maximum; or scale times the sum of x - zero_x, by the
    # number of pixels inside (or of all, if `counts` is above 0: that many).  Pixels outside are left out.
    const void* x
    void* y
    Py_ssize_t C, H, W, P, Q, R, S, step_h, step_w, gap_h, gap_w, top, left, x_first, x_row, y_first, y_row
    int op, counts, zero_x, zero
    float scale, low, high


cdef struct ByteAdd:
    # y = scale_a (a - zero_a) + scale_b (b - zero_b), rounded, between low and high, plus zero
    const void* a
    const void* b
    void* y
    Py_ssize_t rows, count, a_first, a_row, b_first, b_row, y_first, y_row
    int zero_a, zero_b, zero
    float scale_a, scale_b, low, high


cdef struct ByteCast:
    # A number x[places[c, h, w]] to y[first + h * row + w * C + c] and, if `back`, a byte of x there to y[places[...]];
    # bytes that come in may be taken as they are.  Bytes have no NaN: all of `odd` become NaN if any number is, else 0.
    const void* x
    void* y
    void* odd                  # NULL: nobody asks
    const Py_ssize_t* places
    Py_ssize_t C, H, W, first, row, odds
    int back, as_they_are, rows, pixels, zero  # the places of each row, or of INTS channels of a pixel, lie side by side
    float scale, low, high


cdef struct ByteFill:
    const void* x  # NULL
    void* y
    Py_ssize_t count
    int value


ctypedef void (*byte_kernel)(const void* args, Py_ssize_t task, char* scratch) noexcept nogil
ctypedef long long (*byte_scratch)(const void* args) noexcept nogil  # bytes for each thread

cdef struct ByteTable:
    int ints, offset  # in a vector, and what is taken from each byte of x before a product
    byte_kernel conv, window, add, cast, fill
    byte_scratch conv_scratch
