# The steps of a recorded pass over one block of images, run for all blocks of a batch.
#
# Every pointer is into a *stream* (an array with a part for each block), into the *arena* (what lives
# within one block, so each thread has its own), into memory that all blocks share, or to a constant.
# The blocks are taken depth first, each through all steps while its activations are in the cache, and
# the threads share the blocks.

cdef enum:                     # marks of a call
    ONCE = 1                   # it writes memory that nothing else writes
    ADDS = 2                   # it reads what it writes
    LIVE = 4                   # the number behind the pointers counts images
    FIRST_PLAIN = 8            # the first pointer is to plain images: none beyond the last one
    SECOND_PLAIN = 16          # the second one is

cdef enum:                     # places of a pointer beside the numbers of streams
    FIXED = -1
    ARENA = -2
    SHARED = -3
    FOREIGN = -4

cdef enum:                     # when a step is done
    EACH, BEFORE, NEVER

cdef struct Step:
    kernel loop
    char* args
    size_t size
    int inputs, pointers, marks, time
    bint streaming             # it reads a stream
    int place[MOST_POINTERS]
    int life[MOST_POINTERS]    # of those in the arena
    Py_ssize_t offset[MOST_POINTERS]  # in the arena or in the part of a block
    Py_ssize_t tasks, scratch
    double work

cdef struct Stream:
    uintptr_t address
    Py_ssize_t size            # bytes a block
    char kind                  # of its numbers
    bint plain                 # it has no part for lanes without an image
    bint written

cdef enum:
    STREAMS = 256              # at most
    MOST_ARGS = 512            # bytes: more than any struct of arguments


cdef class Steps:
    """Recorded calls of kernels; any number of threads may call `run` at once."""

    cdef Step* steps
    cdef Lives lives           # with the number of steps
    cdef Stream streams[STREAMS]
    cdef int count             # of streams
    cdef list constants        # (array, address, bytes, whether it may be resized)
    cdef list kept             # memory of tables
    cdef Py_ssize_t arena_size, shared_size, scratch_size, images
    cdef double work
    cdef Table* table
    cdef bint done

    def __dealloc__(self):
        cdef int i
        for i in range(self.lives.steps):
            free(self.steps[i].args)
        free(self.steps)
        free(self.lives.life)

    @property
    def memory(self):
        """Bytes that a run on one thread needs."""
        return self.arena_size + self.scratch_size + self.shared_size

    def run(self, streams, Py_ssize_t images, double scale):
        """All steps for the blocks of `images` images.

        `streams` are the arrays that replace those of the recording, in that order, with a part for
        each block; `scale` multiplies the gradient of the loss.  Threads share the blocks or, if there
        are fewer, the tasks of each step that is worth it.
        """
        cdef Py_ssize_t N
        cdef Py_buffer views[STREAMS]
        cdef int s, held = 0
        within_reach(&images, 1)
        at_least(0, &images, 1)
        if not self.done:
            raise RuntimeError("nothing was recorded")
        cdef tuple arrays = tuple(streams)
        if len(arrays) != self.count:
            raise ValueError(f"expected {self.count} streams, got {len(arrays)}")
        N = (images + self.images - 1) // self.images
        self.check_constants()
        try:
            for s in range(self.count):
                PyObject_GetBuffer(arrays[s], &views[s], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
                                   | (PyBUF_WRITABLE if self.streams[s].written else 0))
                held += 1
                self.check_stream(s, &views[s], N, images)
            self.run_blocks(views, N, images, scale)
        finally:
            for s in range(held):
                PyBuffer_Release(&views[s])

    cdef int check_constants(self) except -1:
        cdef Py_buffer view
        for array, address, size, resizable in self.constants:
            if resizable:
                PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
                PyBuffer_Release(&view)
                if <uintptr_t> view.buf != <uintptr_t> address or view.len != <Py_ssize_t> size:
                    raise RuntimeError("an array that was recorded as constant lies elsewhere now")
        return 0

    cdef int check_stream(self, int s, const Py_buffer* view, Py_ssize_t N, Py_ssize_t images) except -1:
        cdef const Stream* stream = &self.streams[s]
        cdef Py_ssize_t blocks = N, rest = 0
        if kind_of(view) != stream.kind or view.itemsize and <uintptr_t> view.buf % <size_t> view.itemsize:
            raise TypeError(f"stream {s}: expected an array of the kind that was recorded")
        if stream.plain and N:
            blocks = N - 1
            rest = (stream.size + self.images - 1) // self.images * (images - blocks * self.images)
        if stream.size and (view.len < rest or blocks > (view.len - rest) // stream.size):
            raise ValueError(f"stream {s}: {view.len} bytes are too few for {images} images")
        return 0

    cdef int run_blocks(self, const Py_buffer* views, Py_ssize_t N, Py_ssize_t images, double scale) except -1:
        cdef int threads = get_num_threads(), sharing
        cdef Py_ssize_t n, scratch = whole_lines(self.scratch_size), each
        cdef cpu_mode mode = 0
        cdef char* memory
        if self.work * N < SHARED_WORK:
            threads = 1
        sharing = 1 if N >= threads else threads
        threads = <int> min(threads, N) if sharing == 1 else 1
        each = whole_lines(self.arena_size) + scratch * sharing + whole_lines(MOST_ARGS)
        cdef Memory arena = Memory(each * threads + self.shared_size)
        cdef char* shared = arena.address
        memory = shared + self.shared_size
        if self.shared_size:
            self.run_before(shared)
        with nogil:
            if threads == 1:
                mode = flush_denormals()
                for n in range(N):
                    self.run_block(n, memory, shared, views, images, scale, sharing)
                put_back(mode)
            else:
                with parallel(num_threads=threads):
                    mode = flush_denormals()
                    for n in prange(N, schedule="dynamic", chunksize=1):
                        self.run_block(n, memory + threadid() * each, shared, views, images, scale, 1)
                    put_back(mode)
        return 0

    cdef int run_before(self, char* shared) except -1:
        cdef int i, j
        cdef Call call
        cdef char args[MOST_ARGS]
        memset(&call, 0, sizeof(call))
        call.args = args
        for i in range(self.lives.steps):
            if self.steps[i].time == BEFORE:
                memcpy(args, self.steps[i].args, self.steps[i].size)
                for j in range(self.steps[i].pointers):
                    if self.steps[i].place[j] == SHARED:
                        (<char**> args)[j] = shared + self.steps[i].offset[j]
                call.loop, call.tasks, call.scratch = self.steps[i].loop, self.steps[i].tasks, self.steps[i].scratch
                call.work = self.steps[i].work
                execute(&call)
        return 0

    cdef void run_block(self, Py_ssize_t n, char* memory, char* shared, const Py_buffer* views,
                        Py_ssize_t images, double scale, int sharing) noexcept nogil:
        cdef Py_ssize_t room = whole_lines(self.scratch_size)
        cdef char* scratch = memory + whole_lines(self.arena_size)
        cdef char* args = scratch + room * sharing
        cdef Py_ssize_t live = min(self.images, images - n * self.images), task
        cdef Step* step
        cdef kernel loop
        cdef int i, j
        for i in range(self.lives.steps):
            step = &self.steps[i]
            if step.time != EACH:
                continue
            loop = step.loop
            memcpy(args, step.args, step.size)
            for j in range(step.pointers):
                if step.place[j] >= 0:
                    (<char**> args)[j] = (<char*> views[step.place[j]].buf + step.offset[j]
                                          + n * self.streams[step.place[j]].size)
                elif step.place[j] == ARENA:
                    (<char**> args)[j] = memory + step.offset[j]
                elif step.place[j] == SHARED:
                    (<char**> args)[j] = shared + step.offset[j]
            if step.marks & LIVE:
                (<Py_ssize_t*> args)[step.pointers] = live
                if loop == self.table.loss:
                    (<Loss*> args).scale = (<Loss*> args).scale * scale
            if sharing > 1 and step.tasks > 1 and step.work >= SHARED_WORK:
                share_tasks(loop, args, step.tasks, scratch, room, sharing, 1)
            else:
                for task in range(step.tasks):
                    loop(args, task, scratch)
