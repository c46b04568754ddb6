# Products of bfloat16 for one image, lanes over channels.

cdef HalfTable* half_table() except NULL:
    if HALVES == NULL:
        raise RuntimeError("no kernels of bfloat16 were chosen")
    return HALVES


def half_units(Py_ssize_t C, /):
    """How many units the pairs of C channels make, and the pairs of each."""
    cdef Py_ssize_t units, unit
    at_least(1, &C, 1)
    within_reach(&C, 1)
    units_of(half_table(), C, &units, &unit)
    return units, unit


def channels_of_halves(int itemsize, shape, /):
    """What `conv2d` with `halves` takes for channels, these or their taps; 0: it uses no kernels of bfloat16."""
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t C = half_channels(&s)
    return C if halves_for(&s, itemsize, C, s.K, s.P, s.Q, True) != NULL else 0


cdef struct HalfSizes:
    Py_ssize_t C, K, R, S, P, Q, step_h, step_w, gap_h, gap_w, x_plane, x_row, y_plane, y_row


cdef Py_ssize_t ways_of(Py_ssize_t taps, Py_ssize_t step, Py_ssize_t gap) noexcept:
    # that taps so far apart go, see PixelPairs
    cdef Py_ssize_t ways = 1
    while ways < taps and ways * gap % step:
        ways += 1
    return ways


cdef void group_pairs(const HalfTable* halves, const HalfChannels* a, Py_ssize_t* groups, Py_ssize_t* width) noexcept:
    # a unit by itself or, if it is a pair, all of a pixel side by side
    groups[0], width[0] = a.units, a.unit
    if halves.most_pairs == 1:
        groups[0], width[0] = 1, a.units


cdef tuple pixels_as_pairs(const HalfTable* halves, const HalfSizes* s, const void* x, HalfChannels* a):
    # The memory of the pixels and of the places of the taps in them; `a` then has what it says of x.
    cdef PixelPairs p
    cdef Py_ssize_t plane, r, c
    p.x, p.C, p.x_plane, p.x_row = x, s.C, s.x_plane, s.x_row
    p.H, p.W = (s.P - 1) * s.step_h + (s.R - 1) * s.gap_h + 1, (s.Q - 1) * s.step_w + (s.S - 1) * s.gap_w + 1
    p.step_h, p.step_w, p.gap_h, p.gap_w = s.step_h, s.step_w, s.gap_h, s.gap_w
    p.ways_h, p.ways_w = ways_of(s.R, s.step_h, s.gap_h), ways_of(s.S, s.step_w, s.gap_w)
    p.down, p.across = s.P + (s.R - 1) * s.gap_h // s.step_h, s.Q + (s.S - 1) * s.gap_w // s.step_w
    group_pairs(halves, a, &p.groups, &p.width)
    plane = p.down * p.across * p.width  # of a way
    cdef Memory pairs = Memory(4 * p.groups * <object> plane * p.ways_h * p.ways_w)
    cdef Memory memory = Memory(a.taps * sizeof(Py_ssize_t))
    cdef Py_ssize_t* tap = <Py_ssize_t*> memory.address
    for r in range(s.R):
        for c in range(s.S):
            tap[r * s.S + c] = (r % p.ways_h * p.ways_w + c % p.ways_w) * plane + (
                r * s.gap_h // s.step_h * p.across + c * s.gap_w // s.step_w) * p.width
    p.y = pairs.address
    run(halves.pixel_pairs, &p, sizeof(p), 1, 1, p.ways_h * p.down, <double> s.C * p.ways_h * p.ways_w * p.down * p.across,
        halves.pixel_scratch(&p))
    a.x, a.tap, a.across, a.x_pixel = p.y, tap, p.across, p.width
    a.x_unit = 1 if p.groups == 1 else p.ways_h * p.ways_w * plane
    return pairs, memory


cdef tuple taps_as_pairs(const HalfTable* halves, const HalfSizes* s, const void* x, HalfChannels* a):
    # likewise of the taps of all channels, in the place of channels
    cdef PixelTaps p
    cdef Py_ssize_t c, i, j
    p.x, p.count, p.P, p.Q = x, s.C * s.R * s.S, s.P, s.Q
    p.x_row, p.x_pixel = s.step_h * s.x_row, s.step_w
    group_pairs(halves, a, &p.groups, &p.width)
    cdef Memory pairs = Memory(4 * p.groups * <object> p.width * s.P * s.Q)
    cdef Memory memory = Memory((p.count + 1) * sizeof(Py_ssize_t))
    cdef Py_ssize_t* place = <Py_ssize_t*> memory.address
    for c in range(s.C):
        for i in range(s.R):
            for j in range(s.S):
                place[0] = c * s.x_plane + i * s.gap_h * s.x_row + j * s.gap_w
                place += 1
    place[0] = 0  # the one tap that is left
    p.y, p.place = pairs.address, <const Py_ssize_t*> memory.address
    run(halves.pixel_taps, &p, sizeof(p), 1, 1, s.P, 2.0 * s.P * s.Q * p.count, 0, 0, memory)
    a.x, a.tap, a.across, a.x_pixel, a.x_unit = p.y, place, s.Q, p.width, 1 if p.groups == 1 else s.P * s.Q * p.width
    return pairs, memory


def half_conv(x, w, bias, y, shape, steps, first, clip=None, bint taps=False, /):
    """A convolution of numbers of bfloat16, see HalfChannels.

    `shape` is C, K, R, S, P, Q, strides and dilations; w lies in (blocks, units, taps, unit, LANES) pairs, bias in
    (blocks, LANES).  `steps` are x_plane, x_row, y_plane, y_row, `first` where the first tap of x, and y, begin.
    With `taps` those of all channels are taken for channels, of which w has pairs, and x is plain.
    """
    cdef HalfTable* halves = half_table()
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef HalfChannels a
    cdef HalfSizes s
    cdef Py_ssize_t first_of[2]
    cdef Py_ssize_t last[2]  # of x and y
    cdef Py_ssize_t L = TABLES[0].lanes, each = 1 if taps else L, channels, parts
    cdef double work
    read_sizes(shape, &s.C, 10)
    read_sizes(steps, &s.x_plane, 4)
    first_of[0], first_of[1] = first
    at_least(1, &s.C, 14)
    within_reach(&s.C, 14)
    within_reach(first_of, 2)
    last[0], last[1] = (s.P - 1) * s.step_h + (s.R - 1) * s.gap_h, (s.Q - 1) * s.step_w + (s.S - 1) * s.gap_w
    within_reach(last, 2)  # so that no sum of two products overflows
    channels = s.C
    if taps:
        channels *= s.R
        within_reach(&channels, 1)
        channels *= s.S
        within_reach(&channels, 1)
    units_of(halves, channels, &a.units, &a.unit)
    a.blocks, a.taps, a.P, a.Q = (s.K + L - 1) // L, 1 if taps else s.R * s.S, s.P, s.Q
    a.y_plane, a.y_row = s.y_plane, s.y_row
    a.w = held.pointer(w, (a.blocks, a.units, a.taps, a.unit, L), 4)
    a.bias = held.pointer(bias, (a.blocks, L), 4)
    last[0] = (s.C - 1) // each * s.x_plane + last[0] * s.x_row + (last[1] + 1) * each - 1
    last[1] = (a.blocks - 1) * s.y_plane + (s.P - 1) * s.y_row + s.Q * L - 1
    cdef const char* source = <const char*> held.reach(x, 4, first_of[0], first_of[0] + last[0]) + 4 * first_of[0]
    a.y = <char*> held.reach(y, 4, first_of[1], first_of[1] + last[1], True) + 4 * first_of[1]
    cdef tuple memory = taps_as_pairs(halves, &s, source, &a) if taps else pixels_as_pairs(halves, &s, source, &a)
    a.clip = clip is not None
    a.low, a.high = clip or (0, 0)
    work = 2.0 * s.P * s.Q * a.taps * channels * a.blocks * L / halves.rate
    a.rows, parts = s.P, cut_blocks(work, a.blocks, &a.block_cut)
    if parts:
        parts = max(1, s.P // max((PIXEL_CUT + s.Q - 1) // s.Q, (s.P + parts - 1) // parts))
        a.rows = (s.P + parts - 1) // parts
    run(halves.channels, &a, sizeof(a), 3, 1,
        ((s.P + a.rows - 1) // a.rows) * ((a.blocks + a.block_cut - 1) // a.block_cut), work,
        halves.channels_scratch(&a), 0, memory)
