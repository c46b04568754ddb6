# The arguments of the kernels of bfloat16, shared by their callers (core/halves.pxi) and the loops (halves.pxi).
#
# A pair is two numbers of bfloat16, of neighbouring channels, in the place of one of float32.  A unit is so many pairs
# as one instruction multiplies.

cdef struct HalfPairs:
    # y[N, units, pixels, unit, LANES]: pairs of the channels of x[N, C, pixels, LANES], zeros behind the last one
    const void* x
    void* y
    Py_ssize_t N, C, pixels, unit


cdef struct HalfWeights:
    # u[groups of `rows` output channels, units, taps, rows, unit]: pairs of the input channels, zeros behind the last
    # ones, of the kernel rotated by 180 degrees if `rotate`
    const void* w
    void* u
    Py_ssize_t K, C, taps, unit, rows, w_k, w_c
    int rotate


cdef struct HalfImages:
    # One side of the gradient to the weights in pairs of neighbouring images, zeros where there is no image:
    # y[N, C in whole groups of `rows`, P, Q, LANES / 2] or, if they are `turned`,
    # y[N, groups of LANES channels, P, Q, LANES / 2, LANES].  A channel is what each of R x S taps sees from the pixels
    # of one of x[N, C / R / S, H, W, LANES].
    const void* x
    void* y
    Py_ssize_t live
    Py_ssize_t N, C, H, W, R, S, P, Q, step_h, step_w, gap_h, gap_w, top, left, rows
    int turned


cdef struct HalfWeight:
    # The gradients to the weights of each block from both sides, of which x is turned or, if `across`, dy; parts as in
    # `winograd_weight.pxi`.
    const void* x
    const void* dy
    void* parts
    Py_ssize_t N, C, K, H, W, R, S, P, Q, step_h, step_w, gap_h, gap_w, top, left
    int across


cdef struct PixelPairs:
    # One image in lanes of channels, as its convolution reads it: y[groups, ways_h, ways_w, down, across, width], pairs of
    # neighbouring channels, `width` of a pixel side by side.  Taps go one of so many ways: those of way j meet the pixels
    # whose number leaves j gap % step when the step divides it, and these lie side by side; zeros behind H and W.
    const void* x
    void* y
    Py_ssize_t C, groups, width, x_plane, x_row, H, W, down, across
    Py_ssize_t step_h, step_w, gap_h, gap_w, ways_h, ways_w


cdef struct PixelTaps:
    # The same of few channels, whose taps stand in the place of channels: y[groups, P, Q, width], pairs of the `count`
    # numbers that lie at `place` in plain planes of x, from the first number of each pixel on.
    const void* x
    void* y
    const Py_ssize_t* place
    Py_ssize_t count, groups, width, P, Q, x_row, x_pixel


cdef struct HalfChannels:
    # A convolution over these pairs: y[block, pixel] = bias[block] + sum over units and taps of the vectors
    # w[blocks, units, taps, unit, LANES].  `x_pixel` is from pixel to pixel of x, of which `across` make a row of y and
    # what is read beyond its end, `x_unit` from unit to unit; a task is some rows of some blocks.
    const void* x
    const void* w
    const void* bias
    void* y
    const Py_ssize_t* tap      # where each of them lies in x
    Py_ssize_t taps, units, unit, blocks, P, Q, across, x_pixel, x_unit, y_plane, y_row, rows, block_cut
    int clip
    double low, high


cdef enum:
    TOGETHER = 16              # output channels a task that pairs weights, in whole groups

cdef struct HalfTable:
    Py_ssize_t lanes           # numbers of float32 in a vector
    Py_ssize_t rows            # output channels, and
    Py_ssize_t most_pairs      # pairs of input channels that one instruction multiplies, at most
    double rate                # products in the time of one of float32
    kernel pairs, weight_pairs, image_pairs, conv, taps, weight, linear_weight, pixel_pairs, pixel_taps, channels
    scratch_size conv_scratch, taps_scratch, weight_scratch, linear_scratch, pixel_scratch, channels_scratch
    bint (*across)(Py_ssize_t across, Py_ssize_t down) noexcept nogil  # which side is turned
