"""The door to the kernels: arrays become pointers here, and the chosen table's loops run without the GIL.

Everything is checked against the length of the buffers, so no call from Python can touch foreign
memory; what the numbers mean is checked in `ops`.  Work is cut into tasks that own their outputs,
so results are the same, bit for bit, at any number of threads.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer, Py_buffer)
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.pythread cimport PyThread_get_thread_ident
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

include "kernels/args.pxi"

cdef extern from *:
    """
    #ifdef _OPENMP
    enum { HAVE_OPENMP = 1 };
    #else
    enum { HAVE_OPENMP = 0 };
    #endif
    /* libgomp's threads do not survive a fork: a child that enters a parallel region hangs. */
    static int forked_child = 0;
    #ifdef _WIN32
    #include <malloc.h>
    static void watch_forks(void) {}
    static void *allocate(Py_ssize_t size) { return _aligned_malloc((size_t)size, 64); }
    static void release(void *address) { _aligned_free(address); }
    #else
    #include <stdlib.h>
    static void *allocate(Py_ssize_t size)
    {
        void *address;
        return posix_memalign(&address, 64, (size_t)size) ? NULL : address;
    }
    static void release(void *address) { free(address); }
    #include <pthread.h>
    static void after_fork_in_child(void) { forked_child = 1; }
    static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }
    #endif
    """
    enum: HAVE_OPENMP
    Py_ssize_t PY_SSIZE_T_MAX
    int forked_child
    void watch_forks()
    void* allocate(Py_ssize_t size) nogil
    void release(void* address) nogil

watch_forks()

OPENMP = bool(HAVE_OPENMP)

cdef enum:
    ALIGNMENT = 64             # bytes: no vector of a scratch buffer crosses a cache line
    CACHE_SHARE = 384 * 1024   # bytes of input that a task keeps in the second-level cache
    CHANNEL_CUT = 12           # output channels a task: a multiple of every tile's rows
    WEIGHT_PIXELS = 1024       # pixels of an image block that one weight-gradient pass runs over
    CHUNK = 16384              # numbers a task of an elementwise kernel
    LARGEST = 2147483647       # of any extent, stride or place: what `ops` admits
    SMALL_WORK = 200000        # operations below which waking a second thread costs more than it brings

cdef Table* TABLES[2]          # float32, float64
cdef int THREADS = 1
cdef Py_ssize_t ZERO = 0       # the one tap of a linear layer


def use_tables(float32, float64):
    """Take the kernels of one instruction set: two capsules, for float32 and float64."""
    TABLES[0] = <Table*> PyCapsule_GetPointer(float32, "cnn_ext.kernels")
    TABLES[1] = <Table*> PyCapsule_GetPointer(float64, "cnn_ext.kernels")


cdef Table* table_of(int itemsize) except NULL:
    if itemsize != 4 and itemsize != 8:
        raise TypeError(f"expected numbers of 4 or 8 bytes, got {itemsize}")
    return TABLES[itemsize == 8]


def lanes(int itemsize):
    """Images side by side in one vector, for numbers of `itemsize` bytes."""
    return table_of(itemsize).lanes


def set_num_threads(int threads):
    global THREADS
    THREADS = threads


def get_num_threads():
    return 1 if forked_child or not HAVE_OPENMP else THREADS


# ---------------------------------------------------------------------------------------- memory
#
# Arrays of a training step have the same sizes again and again, and fresh pages cost more than the
# arithmetic on them: memory that an array gives back is kept for the next one of that size.  What
# is kept is never more than what was in use at once.

cdef dict SPARE = {}           # size -> addresses
cdef Py_ssize_t in_use = 0, most_in_use = 0, kept = 0


cdef class Memory:
    """`size` bytes from a cache line on, as a writable buffer; not initialised."""

    cdef char* address
    cdef Py_ssize_t size

    def __cinit__(self, size):
        global in_use, most_in_use, kept
        if size < 0:
            raise ValueError(f"expected a size of at least 0, got {size}")
        if size > PY_SSIZE_T_MAX - 2 * ALIGNMENT:
            raise MemoryError(f"{size} bytes")
        self.size = size
        cdef list spare = SPARE.pop(size, None)
        if spare is not None:
            self.address = <char*> <uintptr_t> spare.pop()
            kept -= self.size
            if spare:
                SPARE[size] = spare  # behind sizes that were not asked for lately
        else:
            self.address = <char*> allocate(max(self.size, 1))
            if self.address == NULL:
                raise MemoryError(f"{size} bytes")
        if recording():
            RECORDER.born(self.address, self.size)
        in_use += self.size
        most_in_use = max(most_in_use, in_use)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.address, self.size, False, flags)

    def __dealloc__(self):
        global in_use, kept
        if self.address == NULL:
            return
        if recording():
            RECORDER.died(self.address)
        in_use -= self.size
        SPARE.setdefault(self.size, []).append(<uintptr_t> self.address)
        kept += self.size
        while kept > most_in_use:
            forget_oldest()


cdef int forget_oldest() except -1:
    global kept
    size = next(iter(SPARE))
    addresses = SPARE[size]
    release(<void*> <uintptr_t> addresses.pop())
    kept -= size
    if not addresses:
        del SPARE[size]
    return 0


def memory_use():
    """Bytes of arrays of the package: in use, at most in use so far, kept for reuse."""
    return in_use, most_in_use, kept


def release_memory():
    """Give all kept memory back to the system and count the most in use anew."""
    global most_in_use, kept
    for addresses in SPARE.values():
        for address in addresses:
            release(<void*> <uintptr_t> address)
    SPARE.clear()
    kept = 0
    most_in_use = in_use


# ------------------------------------------------------------------------------------- recording

include "program.pxi"


cdef void* pointer(object array, tuple sizes, int itemsize, bint writable=False) except? NULL:
    # The address of an array of at least these extents.  The caller holds the array itself.
    cdef Py_buffer view
    cdef Py_ssize_t needed = itemsize, size
    for size in sizes:
        if size < 0:
            raise ValueError(f"expected sizes of at least 0, got {sizes}")
        if size and needed > PY_SSIZE_T_MAX // size:
            raise MemoryError(f"an array of {sizes} is too large")
        needed *= size
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    PyBuffer_Release(&view)
    if view.itemsize != itemsize or view.len < needed:
        raise ValueError(f"expected at least {sizes} numbers of {itemsize} bytes, "
                         f"got {view.len} bytes in items of {view.itemsize}")
    return view.buf


cdef int at_least_one(const Py_ssize_t* sizes, int count) except -1:
    cdef int i
    for i in range(count):
        if sizes[i] < 1:
            raise ValueError(f"expected sizes of at least 1, got {sizes[i]}")
    return 0


cdef int within_reach(const Py_ssize_t* numbers, int count) except -1:
    # each along one axis: a product of two is far from where an index would overflow
    cdef int i
    for i in range(count):
        if not -LARGEST <= numbers[i] <= LARGEST:
            raise ValueError(f"expected numbers up to {LARGEST}, got {numbers[i]}")
    return 0


cdef int run(kernel loop, const void* args, size_t size, int pointers, Py_ssize_t tasks,
             double work, scratch=0) except -1:
    # Every task once, on as many threads as the work is worth; each has its own scratch memory.
    # `args` is a struct of `size` bytes that begins with so many pointers to data.
    if recording():
        RECORDER.add(loop, args, size, pointers, tasks, scratch)
        return 0
    cdef int threads = get_num_threads()
    cdef Py_ssize_t task, each = 0, share
    cdef char* memory = NULL
    if work < SMALL_WORK or tasks < 2:
        threads = 1
    elif threads > tasks:
        threads = <int> tasks
    if scratch:
        scratch = (scratch + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if scratch * threads <= PY_SSIZE_T_MAX - ALIGNMENT:
            each = scratch
            memory = <char*> allocate(each * threads)
        if memory == NULL:
            raise MemoryError(f"scratch memory of {scratch} bytes a thread")
    share = max(1, tasks // (threads * 16))
    with nogil:
        if threads == 1:
            for task in range(tasks):
                loop(args, task, memory)
        else:
            for task in prange(tasks, num_threads=threads, schedule="dynamic", chunksize=share):
                loop(args, task, memory + threadid() * each)
    if memory != NULL:
        release(memory)
    return 0


# ---------------------------------------------------------------------------------- convolution

cdef struct Shape:
    # N blocks; per group C input and K output channels; the rest as in args.pxi
    Py_ssize_t N, G, C, K, H, W, R, S, P, Q, step_h, step_w, top, left, gap_h, gap_w


cdef Shape shape_of(shape) except *:
    cdef Shape s
    (s.N, s.G, s.C, s.K, s.H, s.W, s.R, s.S, s.P, s.Q, s.step_h, s.step_w, s.top, s.left, s.gap_h,
     s.gap_w) = shape
    at_least_one(&s.G, 11)  # up to step_w
    at_least_one(&s.gap_h, 2)
    within_reach(&s.N, 16)
    return s


cdef int run_conv(Table* table, Conv* a) except -1:
    # Cut one pass into tasks: rows so that the input of a task stays in cache and threads get
    # several tasks each; if there are too few rows, output channels as well.
    cdef int threads = get_num_threads()
    cdef Py_ssize_t blocks
    if a.N == 0:
        return 0
    row_bytes = max(1, a.C * a.step_h * a.W * table.lanes * table.itemsize)
    a.rows = max(1, CACHE_SHARE // row_bytes)
    blocks = max((a.P + a.rows - 1) // a.rows, min(a.P, (4 * threads + a.N - 1) // a.N))
    a.rows = (a.P + blocks - 1) // blocks
    blocks = (a.P + a.rows - 1) // a.rows * a.N * a.G
    a.channels = a.K
    if blocks < 2 * threads and threads > 1:
        a.channels = (a.K // (4 * threads) // CHANNEL_CUT + 1) * CHANNEL_CUT
    return run(table.conv, a, sizeof(Conv), 4, blocks * ((a.K + a.channels - 1) // a.channels),
               2.0 * a.N * a.G * a.K * a.P * a.Q * a.C * (a.taps_h * a.taps_w + 1) * table.lanes,
               2 * sizeof(Py_ssize_t) * <object> (a.rows * a.Q + max(a.taps_h * a.taps_w, a.C)))


def conv2d(x, w, bias, y, int itemsize, shape):
    """y = x * w + bias, cross-correlation on lane arrays; `shape` as in `Shape`."""
    cdef Table* table = table_of(itemsize)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, r, c
    cdef Conv a
    a.x = pointer(x, (s.N, s.G, s.C, s.H, s.W, L), itemsize)
    a.w = pointer(w, (s.G, s.K, s.C, s.R, s.S), itemsize)
    a.bias = NULL if bias is None else pointer(bias, (s.G, s.K), itemsize)
    a.y = pointer(y, (s.N, s.G, s.K, s.P, s.Q, L), itemsize, True)
    a.N, a.G, a.C, a.K, a.H, a.W, a.P, a.Q = s.N, s.G, s.C, s.K, s.H, s.W, s.P, s.Q
    a.step_h, a.step_w, a.taps_h, a.taps_w = s.step_h, s.step_w, s.R, s.S
    a.x_w, a.x_h, a.x_c = L, s.W * L, s.H * s.W * L
    a.x_g, a.x_n = s.C * a.x_c, s.G * s.C * a.x_c
    a.y_w, a.y_h, a.y_k = L, s.Q * L, s.P * s.Q * L
    a.y_g, a.y_n = s.K * a.y_k, s.G * s.K * a.y_k
    a.w_c, a.w_k, a.w_g = s.R * s.S, s.C * s.R * s.S, s.K * s.C * s.R * s.S
    cdef Memory memory = Memory(2 * (s.R + s.S) * sizeof(Py_ssize_t))
    cdef Py_ssize_t* taps = taps_of(memory)
    a.tap_h, a.weight_h, a.tap_w, a.weight_w = taps, taps + s.R, taps + 2 * s.R, taps + 2 * s.R + s.S
    for r in range(s.R):
        taps[r] = r * s.gap_h - s.top
        taps[s.R + r] = r * s.S
    taps += 2 * s.R
    for c in range(s.S):
        taps[c] = c * s.gap_w - s.left
        taps[s.S + c] = c
    run_conv(table, &a)


cdef Py_ssize_t* taps_of(Memory memory) noexcept:
    # a table of taps; a recorder keeps it as long as the call that points to it
    if recording():
        RECORDER.tables.append(memory)
    return <Py_ssize_t*> memory.address


cdef Py_ssize_t taps_along(Py_ssize_t size, Py_ssize_t start, Py_ssize_t step, Py_ssize_t gap,
                           Py_ssize_t stride, Py_ssize_t* tap, Py_ssize_t* weight) noexcept:
    # The taps r with (start - r*gap) divisible by step: their places and those of their weights.
    cdef Py_ssize_t r, count = 0
    for r in range(size):
        if (start - r * gap) % step == 0:
            tap[count] = (start - r * gap) // step
            weight[count] = r * stride
            count += 1
    return count


def conv2d_input(dy, w, dx, int itemsize, shape):
    """dx = the full cross-correlation of dy with the rotated kernel.

    A stride leaves `step_h x step_w` residues of input pixels, each reached by its own taps:
    each is a pass of the forward kernel with stride 1 over dy.
    """
    cdef Table* table = table_of(itemsize)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, h0, w0
    cdef Conv a
    cdef char* out = <char*> pointer(dx, (s.N, s.G, s.C, s.H, s.W, L), itemsize, True)
    a.x = pointer(dy, (s.N, s.G, s.K, s.P, s.Q, L), itemsize)
    a.w = pointer(w, (s.G, s.K, s.C, s.R, s.S), itemsize)
    a.bias = NULL
    a.N, a.G, a.C, a.K, a.H, a.W = s.N, s.G, s.K, s.C, s.P, s.Q
    a.step_h = a.step_w = 1
    a.x_w, a.x_h, a.x_c = L, s.Q * L, s.P * s.Q * L
    a.x_g, a.x_n = s.K * a.x_c, s.G * s.K * a.x_c
    a.y_w, a.y_h, a.y_k = s.step_w * L, s.step_h * s.W * L, s.H * s.W * L
    a.y_g, a.y_n = s.C * a.y_k, s.G * s.C * a.y_k
    a.w_k, a.w_c, a.w_g = s.R * s.S, s.C * s.R * s.S, s.K * s.C * s.R * s.S
    cdef Memory memory
    cdef Py_ssize_t* taps
    cdef Py_ssize_t* taps_w
    for h0 in range(min(s.step_h, s.H)):
        for w0 in range(min(s.step_w, s.W)):
            memory = Memory(2 * (s.R + s.S) * sizeof(Py_ssize_t))
            taps = taps_of(memory)
            taps_w = taps + 2 * s.R
            a.tap_h, a.weight_h, a.tap_w, a.weight_w = taps, taps + s.R, taps_w, taps_w + s.S
            a.taps_h = taps_along(s.R, h0 + s.top, s.step_h, s.gap_h, s.S, taps, taps + s.R)
            a.taps_w = taps_along(s.S, w0 + s.left, s.step_w, s.gap_w, 1, taps_w, taps_w + s.S)
            a.P = (s.H - h0 + s.step_h - 1) // s.step_h
            a.Q = (s.W - w0 + s.step_w - 1) // s.step_w
            a.y = out + (h0 * s.W + w0) * L * itemsize
            run_conv(table, &a)


def conv2d_weight(dy, x, dw, int itemsize, shape):
    """dw = sum over images and pixels of dy times the input that each tap saw."""
    cdef Table* table = table_of(itemsize)
    cdef Shape s = shape_of(shape)
    cdef Py_ssize_t L = table.lanes, tasks, images = max(1, WEIGHT_PIXELS // s.P // s.Q)
    cdef ConvWeight a
    a.x = pointer(x, (s.N, s.G, s.C, s.H, s.W, L), itemsize)
    a.dy = pointer(dy, (s.N, s.G, s.K, s.P, s.Q, L), itemsize)
    a.dw = pointer(dw, (s.G, s.K, s.C, s.R, s.S), itemsize, True)
    a.G, a.C, a.K, a.H, a.W, a.R, a.S, a.P, a.Q = s.G, s.C, s.K, s.H, s.W, s.R, s.S, s.P, s.Q
    a.step_h, a.step_w, a.gap_h, a.gap_w = s.step_h, s.step_w, s.gap_h, s.gap_w
    a.top, a.left = s.top, s.left
    if s.N == 0:
        memset(a.dw, 0, s.G * s.K * s.C * s.R * s.S * itemsize)
    tasks = table.conv_weight_tasks(&a)
    a.first = 0
    while a.first < s.N:
        a.last = min(s.N, a.first + images)
        run(table.conv_weight, &a, sizeof(a), 3, tasks, 2.0 * (a.last - a.first) * s.G * s.K * s.P * s.Q
            * s.C * s.R * s.S * L)
        a.first = a.last


def block_sum(x, y, int itemsize, Py_ssize_t N, Py_ssize_t count, bint more):
    """y = (y if `more` else 0) + the sum over N parts of `count` numbers of x."""
    cdef Table* table = table_of(itemsize)
    cdef BlockSum a
    a.N, a.count, a.chunk, a.more = N, count, 1024, more
    a.x = pointer(x, (N, count), itemsize)
    a.y = pointer(y, (count,), itemsize, True)
    run(table.block_sum, &a, sizeof(a), 2, (count + 1023) // 1024, <double> N * count)


def channel_sum(dy, db, int itemsize, Py_ssize_t N, Py_ssize_t K, Py_ssize_t pixels):
    """db[k] = sum of dy over images and pixels."""
    cdef Table* table = table_of(itemsize)
    cdef ChannelSum a
    a.N, a.K, a.pixels = N, K, pixels
    a.dy = pointer(dy, (N, K, pixels, table.lanes), itemsize)
    a.db = pointer(db, (K,), itemsize, True)
    run(table.channel_sum, &a, sizeof(a), 2, K, <double> N * K * pixels * table.lanes)


# --------------------------------------------------------------------------------------- linear

cdef int run_linear(Table* table, Conv* a, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K) except -1:
    # a convolution of one "image" whose pixels are the N blocks
    at_least_one(&C, 1)
    at_least_one(&K, 1)
    if N == 0:
        return 0
    a.N = a.G = a.H = a.P = a.step_h = a.step_w = a.taps_h = a.taps_w = 1
    a.W = a.Q = N
    a.C, a.K = C, K
    a.tap_h = a.tap_w = a.weight_h = a.weight_w = &ZERO
    a.x_n = a.x_g = a.x_h = a.y_n = a.y_g = a.y_h = a.w_g = 0
    a.x_c = a.y_k = table.lanes
    a.x_w, a.y_w = C * table.lanes, K * table.lanes
    return run_conv(table, a)


def linear(x, w, bias, y, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K):
    """y = x w' + bias for N blocks of images, w of shape (K, C)."""
    cdef Table* table = table_of(itemsize)
    cdef Conv a
    a.x = pointer(x, (N, C, table.lanes), itemsize)
    a.w = pointer(w, (K, C), itemsize)
    a.bias = NULL if bias is None else pointer(bias, (K,), itemsize)
    a.y = pointer(y, (N, K, table.lanes), itemsize, True)
    a.w_k, a.w_c = C, 1
    run_linear(table, &a, N, C, K)


def linear_input(dy, w, dx, int itemsize, Py_ssize_t N, Py_ssize_t C, Py_ssize_t K):
    """dx = dy w."""
    cdef Table* table = table_of(itemsize)
    cdef Conv a
    a.x = pointer(dy, (N, K, table.lanes), itemsize)
    a.w = pointer(w, (K, C), itemsize)
    a.bias = NULL
    a.y = pointer(dx, (N, C, table.lanes), itemsize, True)
    a.w_k, a.w_c = 1, C
    run_linear(table, &a, N, K, C)


def linear_weight(dy, x, dw, int itemsize, Py_ssize_t images, Py_ssize_t C, Py_ssize_t K):
    """dw = dy' x, dy in lanes and x plain rows (images, C) with C at least LANES."""
    cdef Table* table = table_of(itemsize)
    cdef LinearWeight a
    if C < table.lanes:
        raise ValueError(f"C: expected at least {table.lanes}, got {C}")
    a.N, a.C, a.K, a.channels = images, C, K, CHANNEL_CUT
    a.dy = pointer(dy, ((images + table.lanes - 1) // table.lanes, table.lanes, K), itemsize)
    a.x = pointer(x, (images, C), itemsize)
    a.dw = pointer(dw, (K, C), itemsize, True)
    run(table.linear_weight, &a, sizeof(a), 3, (K + CHANNEL_CUT - 1) // CHANNEL_CUT, 2.0 * images * C * K,
        sizeof(Py_ssize_t) * (2 * images + C // table.lanes + 1))


# -------------------------------------------------------------------------------------- pooling

cdef int run_pool(kernel loop, Pool* a, Table* table, shape, count_include_pad) except -1:
    (a.planes, a.H, a.W, a.R, a.S, a.P, a.Q, a.step_h, a.step_w, a.gap_h, a.gap_w, a.top, a.left,
     a.bottom, a.right) = shape
    at_least_one(&a.H, 10)  # up to gap_w
    within_reach(&a.H, 14)
    a.count_include_pad = count_include_pad
    return run(loop, a, sizeof(Pool), 3, a.planes, <double> a.planes * a.P * a.Q * a.R * a.S * table.lanes)


def max_pool2d(x, y, place, int itemsize, shape):
    """Maxima into y and, unless `place` is None, which tap of each window they came from."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    outputs = shape[0], *shape[5:7], table.lanes
    a.x = pointer(x, (*shape[:3], table.lanes), itemsize)
    a.y = pointer(y, outputs, itemsize, True)
    a.place = NULL if place is None else pointer(place, outputs, itemsize, True)
    run_pool(table.max_pool, &a, table, shape, False)


def max_pool2d_input(dy, place, dx, int itemsize, shape):
    """dx: each gradient at the place that `max_pool2d` noted."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    outputs = shape[0], *shape[5:7], table.lanes
    a.x = pointer(dy, outputs, itemsize)
    a.place = pointer(place, outputs, itemsize)
    a.y = pointer(dx, (*shape[:3], table.lanes), itemsize, True)
    run_pool(table.max_pool_back, &a, table, shape, False)


def avg_pool2d(x, y, int itemsize, shape, bint count_include_pad):
    """Means of the windows."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    a.x = pointer(x, (*shape[:3], table.lanes), itemsize)
    a.y = pointer(y, (shape[0], *shape[5:7], table.lanes), itemsize, True)
    a.place = NULL
    run_pool(table.avg_pool, &a, table, shape, count_include_pad)


def avg_pool2d_input(dy, dx, int itemsize, shape, bint count_include_pad):
    """dx: each gradient spread over its window."""
    cdef Table* table = table_of(itemsize)
    cdef Pool a
    a.x = pointer(dy, (shape[0], *shape[5:7], table.lanes), itemsize)
    a.y = pointer(dx, (*shape[:3], table.lanes), itemsize, True)
    a.place = NULL
    run_pool(table.avg_pool_back, &a, table, shape, count_include_pad)


# ------------------------------------------------------------- activations, losses, descent, lanes

OPS = {"relu": RELU, "relu_back": RELU_BACK, "leaky_relu": LEAKY_RELU,
       "leaky_relu_back": LEAKY_RELU_BACK, "sigmoid": SIGMOID, "sigmoid_back": SIGMOID_BACK,
       "tanh": TANH, "tanh_back": TANH_BACK, "scale": SCALE}
LOSSES = {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
          "squared_error": SQUARED_ERROR}


def elementwise(op, a, b, y, int itemsize, Py_ssize_t count, double parameter):
    """y = op(a, b) for `count` numbers, in any layout; b may be None, y may be a or b."""
    cdef Table* table = table_of(itemsize)
    cdef Map m
    m.count, m.chunk, m.op, m.parameter = count, CHUNK, OPS[op], parameter
    m.a = pointer(a, (count,), itemsize)
    m.b = NULL if b is None else pointer(b, (count,), itemsize)
    m.y = pointer(y, (count,), itemsize, True)
    run(table.elementwise, &m, sizeof(m), 3, (count + CHUNK - 1) // CHUNK, <double> count)


def softmax(a, dy, y, int itemsize, Py_ssize_t N, Py_ssize_t K, Py_ssize_t pixels):
    """y = softmax(a) over K channels or, given dy, its gradient where a is the output."""
    cdef Table* table = table_of(itemsize)
    cdef Softmax args
    args.N, args.K, args.pixels = N, K, pixels
    sizes = N, K, pixels, table.lanes
    at_least_one(&K, 1)
    at_least_one(&pixels, 1)
    args.a = pointer(a, sizes, itemsize)
    args.b = NULL if dy is None else pointer(dy, sizes, itemsize)
    args.y = pointer(y, sizes, itemsize, True)
    run(table.softmax if dy is None else table.softmax_back, &args, sizeof(args), 3, N * pixels, 10.0 * N * K * pixels * table.lanes)


def loss(op, z, target, cost, dz, int itemsize, Py_ssize_t images, Py_ssize_t K, double scale):
    """The cost of each image and the gradient times `scale`, on lane arrays (blocks, K, LANES)."""
    cdef Table* table = table_of(itemsize)
    cdef Loss a
    cdef Py_ssize_t N = (images + table.lanes - 1) // table.lanes
    a.N, a.K, a.op, a.scale = images, K, LOSSES[op], scale
    at_least_one(&K, 1)
    a.z = pointer(z, (N, K, table.lanes), itemsize)
    a.target = pointer(target, (N, K, table.lanes), itemsize)
    a.cost = pointer(cost, (N, table.lanes), itemsize, True)
    a.dz = pointer(dz, (N, K, table.lanes), itemsize, True)
    run(table.loss, &a, sizeof(a), 4, N, 30.0 * images * K)


def sgd(p, g, v, int itemsize, Py_ssize_t count, double lr, double momentum, double dampening,
        double weight_decay, bint nesterov, bint first):
    """One step of descent on `count` numbers p, in place; v (or None) is the velocity."""
    cdef Table* table = table_of(itemsize)
    cdef Sgd a
    a.count, a.chunk, a.lr, a.momentum, a.dampening = count, CHUNK, lr, momentum, dampening
    a.weight_decay, a.nesterov, a.first = weight_decay, nesterov, first
    a.p = pointer(p, (count,), itemsize, True)
    a.g = pointer(g, (count,), itemsize)
    a.v = NULL if v is None else pointer(v, (count,), itemsize, True)
    run(table.sgd, &a, sizeof(a), 3, (count + CHUNK - 1) // CHUNK, 2.0 * count)


cdef int run_pack(kernel loop, Pack* a, Table* table, Py_ssize_t images, Py_ssize_t pixels) except -1:
    a.N, a.pixels = images, pixels
    return run(loop, a, sizeof(Pack), 2, (images + table.lanes - 1) // table.lanes, 2.0 * images * pixels)


def pack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels, double scale):
    """Plain images into lanes; images of bytes are multiplied by `scale`."""
    cdef Table* table = table_of(itemsize)
    cdef Pack a
    cdef Py_ssize_t N = (images + table.lanes - 1) // table.lanes
    a.bytes = memoryview(x).itemsize == 1
    a.scale = scale
    a.a = pointer(x, (images, pixels), 1 if a.bytes else itemsize)
    a.y = pointer(y, (N, pixels, table.lanes), itemsize, True)
    run_pack(table.pack, &a, table, images, pixels)


def unpack(x, y, int itemsize, Py_ssize_t images, Py_ssize_t pixels):
    """Lanes into plain images."""
    cdef Table* table = table_of(itemsize)
    cdef Pack a
    cdef Py_ssize_t N = (images + table.lanes - 1) // table.lanes
    a.bytes = 0
    a.scale = 1
    a.a = pointer(x, (N, pixels, table.lanes), itemsize)
    a.y = pointer(y, (images, pixels), itemsize, True)
    run_pack(table.unpack, &a, table, images, pixels)


def peak(int itemsize, Py_ssize_t tasks):
    """Run multiply-adds in registers; returns how many operations (two for each) were done."""
    cdef Table* table = table_of(itemsize)
    cdef int nothing = 0
    run(table.peak, &nothing, sizeof(nothing), 0, tasks, 1e9, sizeof(double))
    return 2e6 * table.peak_sums * table.lanes * tasks
