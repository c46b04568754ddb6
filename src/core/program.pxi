# A recorded pass of a network over one block of images, run again for all blocks of a batch.
#
# While a recorder is active, `run` notes each call of a kernel instead of doing it.  Afterwards every
# pointer in the arguments is one of three: into a *stream* (an array that has a part for each block:
# the input, the targets, the gradients of the block), into the *arena* (all other memory that was
# taken while recording: what lives within one block, so each thread has its own), or elsewhere (the
# weights), which stays.  A run then takes the blocks depth first, each through all steps while its
# activations are in the cache, and the threads share the blocks.  What depends on the weights alone
# (Winograd's transform of them) is done once before, into memory that all blocks share.

cdef struct Step:
    kernel loop
    char* args
    size_t size
    int pointers
    bint once
    int place[4]               # of each pointer: FIXED, ARENA, SHARED or the number of a stream
    Py_ssize_t offset[4]       # in the arena or in the part of a block
    Py_ssize_t tasks
    double work

cdef enum:
    FIXED = -1
    ARENA = -2
    SHARED = -3
    MOST_STREAMS = 256
    MOST_ARGS = 512            # bytes: more than any struct of arguments


cdef inline bint recording() noexcept:
    return active_recorder != NULL  # of this thread


cdef inline Recorder recorder():
    return <Recorder> active_recorder


def first_fit(sizes, starts, ends, Py_ssize_t alignment):
    """Offsets of pieces of memory that are needed from `starts` until before `ends`, and the whole.

    The largest come first, each as low as those allow that are needed at the same time.
    """
    cdef Py_ssize_t count = len(sizes), placed, i, j, n, size, start, end, offset, whole = 0
    cdef Py_ssize_t* rows = <Py_ssize_t*> malloc(max(count, 1) * 4 * sizeof(Py_ssize_t))
    cdef Py_ssize_t* row
    within_reach(&alignment, 1)
    at_least_one(&alignment, 1)
    if rows == NULL:
        raise MemoryError(f"{count} pieces of memory")
    offsets = [0] * count
    try:
        for placed, n in enumerate(sorted(range(count), key=lambda n: -sizes[n])):
            start, end, size = starts[n], ends[n], sizes[n]
            if not 0 <= size <= PY_SSIZE_T_MAX // (count + 1) - alignment:
                raise ValueError(f"{count} pieces of memory of up to {size} bytes")
            size = (size + alignment - 1) // alignment * alignment
            offset, i = 0, placed
            for j in range(placed):  # in the order of their offsets
                row = rows + 4 * j
                if row[0] >= offset + size:
                    break
                if start < row[3] and row[2] < end and row[1] > offset:
                    offset = row[1]
            while i > 0 and rows[4 * i - 4] > offset:
                i -= 1
            memmove(rows + 4 * i + 4, rows + 4 * i, (placed - i) * 4 * sizeof(Py_ssize_t))
            row = rows + 4 * i
            row[0], row[1], row[2], row[3] = offset, offset + size, start, end
            offsets[n] = offset
            whole = max(whole, offset + size)
    finally:
        free(rows)
    return offsets, whole


cdef class Recorder:
    """Records the kernels that this Python thread calls from `start` to `stop`, and runs them.

    It records once; then any number of threads may call `run` at once.
    """

    cdef Step* steps
    cdef int count
    cdef list lives, tables, streams
    cdef Py_ssize_t arena_size, shared_size, scratch_size, images
    cdef double work
    cdef Py_ssize_t stride[MOST_STREAMS]
    cdef bint plain[MOST_STREAMS]
    cdef Table* table
    cdef bint begun, done

    def __cinit__(self, int itemsize, Py_ssize_t images=0):
        self.table = table_of(itemsize)
        self.images = images or self.table.lanes  # of a block
        self.lives = []        # of memory: [address, size, first step, end], end None if still taken
        self.tables = []       # of taps
        self.streams = []      # (address, bytes a block)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            free(self.steps[i].args)
        free(self.steps)

    def start(self):
        global active_recorder
        if active_recorder != NULL:
            raise RuntimeError("another recorder is active in this thread")
        if self.begun:
            raise RuntimeError("a recorder records once")
        self.begun = True
        Py_INCREF(self)
        active_recorder = <void*> self

    def cancel(self):
        """End the recording, whatever was recorded."""
        global active_recorder
        if active_recorder == <void*> self:
            active_recorder = NULL
            Py_DECREF(self)

    cdef int born(self, char* address, Py_ssize_t size) except -1:
        self.lives.append([<uintptr_t> address, size, self.count, None])
        return 0

    cdef int died(self, char* address) except -1:
        for life in reversed(self.lives):
            if life[0] == <uintptr_t> address and life[3] is None:
                life[3] = self.count
                break
        return 0

    cdef int add(self, kernel loop, const void* args, size_t size, int pointers, Py_ssize_t tasks,
                 double work, scratch) except -1:
        if size > MOST_ARGS:
            raise RuntimeError("too many arguments to record")
        cdef Step* steps = <Step*> realloc(self.steps, (self.count + 1) * sizeof(Step))
        if steps == NULL:
            raise MemoryError("recording")
        self.steps = steps
        cdef Step* step = &steps[self.count]
        step.args = <char*> malloc(size)
        if step.args == NULL:
            raise MemoryError("recording")
        self.count += 1
        memcpy(step.args, args, size)
        step.loop, step.size, step.pointers, step.tasks, step.work = loop, size, pointers, tasks, work
        step.once = loop == self.table.winograd_filter or loop == self.table.turn
        cdef int j, i
        cdef uintptr_t address
        for j in range(pointers):
            address = (<uintptr_t*> step.args)[j]
            step.place[j], step.offset[j] = FIXED, 0
            for i in range(len(self.lives) - 1, -1, -1):
                start, extent, _, end = self.lives[i]
                if end is None and start <= address < start + extent:
                    step.place[j], step.offset[j] = i, address - start
                    break
        self.work += work
        self.scratch_size = max(self.scratch_size, scratch)
        return 0

    def stop(self, streams, constants):
        """End the recording.

        `streams` are the arrays of one block that a run replaces, `constants` those that stay.
        Raises RuntimeError if a kernel was given memory that is neither, nor was taken meanwhile.
        """
        cdef int i, j
        if active_recorder != <void*> self:
            raise RuntimeError("this recorder is not active in this thread")
        self.cancel()
        if len(streams) > MOST_STREAMS:
            raise RuntimeError(f"{len(streams)} streams are more than {MOST_STREAMS}")
        known = [(<uintptr_t> pointer(array, (), array.itemsize), array.nbytes)
                 for array in (*streams, *constants)]
        self.streams = known[:len(streams)]
        for i, (_, size) in enumerate(self.streams):
            self.stride[i] = size
        number = {start: s for s, (start, _) in enumerate(self.streams)}
        stream_of = {i: number[life[0]] for i, life in enumerate(self.lives)
                     if life[3] is None and life[0] in number}
        offsets = self.plan_shared()
        shared = set(offsets)
        offsets.update(self.plan_arena(shared.union(stream_of)))
        for i in range(self.count):
            for j in range(self.steps[i].pointers):
                life = self.steps[i].place[j]
                address = (<uintptr_t*> self.steps[i].args)[j]
                if life in stream_of:
                    self.steps[i].place[j] = stream_of[life]
                elif life >= 0:
                    self.steps[i].place[j] = SHARED if life in shared else ARENA
                    self.steps[i].offset[j] += offsets[life]
                elif address:
                    for s, (start, size) in enumerate(known):
                        if start <= address < start + size:
                            break
                    else:
                        raise RuntimeError("a kernel was given memory that is not known here")
                    if s < len(streams):
                        self.steps[i].place[j] = s
                        self.steps[i].offset[j] = address - start
        for i in range(self.count):  # what has no part for lanes without an image
            j = self.steps[i].place[1]
            if self.steps[i].loop == self.table.unpack and j >= 0 and not self.steps[i].offset[1]:
                self.plain[j] = True
        self.plain[0] = True
        self.lives = None
        self.done = True

    cdef dict plan_shared(self):
        # Offsets of what is written once, by the second pointer of its step.
        cdef int i
        offsets = {}
        self.shared_size = 0
        for i in range(self.count):
            if self.steps[i].once:
                offsets[self.steps[i].place[1]] = self.shared_size
                size = self.lives[self.steps[i].place[1]][1]
                self.shared_size += (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return offsets

    cdef dict plan_arena(self, set others):
        # Offsets of all other lives.
        rest = [i for i in range(len(self.lives)) if i not in others]
        sizes = [self.lives[i][1] for i in rest]
        starts = [self.lives[i][2] for i in rest]
        ends = [self.count if self.lives[i][3] is None else self.lives[i][3] for i in rest]
        offsets, self.arena_size = first_fit(sizes, starts, ends, ALIGNMENT)
        return dict(zip(rest, offsets))

    @property
    def memory(self):
        """Bytes that a run on one thread needs."""
        return self.arena_size + self.scratch_size + self.shared_size

    def run(self, list streams, Py_ssize_t images, double scale):
        """All steps for the blocks of `images` images.

        `streams` are the arrays that replace those of `stop`, with a part for each block; `scale`
        multiplies the gradient of the loss.  Threads share the blocks or, if there are fewer, the
        tasks of each step that is worth it.
        """
        within_reach(&images, 1)
        cdef Py_ssize_t L = self.images, N = (images + L - 1) // L, n, each, room
        cdef int threads = get_num_threads(), sharing, s
        cdef char* bases[MOST_STREAMS]
        cdef Py_ssize_t strides[MOST_STREAMS]
        cdef Py_buffer view
        cdef char* memory
        if not self.done:
            raise RuntimeError("nothing was recorded")
        if len(streams) != len(self.streams):
            raise ValueError(f"expected {len(self.streams)} streams, got {len(streams)}")
        for s in range(len(streams)):
            strides[s] = self.stride[s]
            PyObject_GetBuffer(streams[s], &view, PyBUF_C_CONTIGUOUS)
            PyBuffer_Release(&view)  # the caller holds the array
            bases[s] = <char*> view.buf
            if view.len < (self.stride[s] // L * images if self.plain[s] else self.stride[s] * N):
                raise ValueError(f"stream {s}: {view.len} bytes are too few for {images} images")
        if self.work * N < SHARED_WORK:
            threads = 1
        sharing = 1 if N >= threads else threads
        threads = <int> min(threads, N) if sharing == 1 else 1
        scratch = (self.scratch_size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        room = (self.arena_size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        each = room + scratch * sharing + (MOST_ARGS + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        cdef Memory arena = Memory(each * threads + self.shared_size)
        cdef char* shared = arena.address
        memory = shared + self.shared_size
        if self.shared_size:
            self.run_once(shared)
        with nogil:
            if threads == 1:
                for n in range(N):
                    self.run_block(n, memory, shared, bases, strides, images, scale, sharing)
            else:
                for n in prange(N, num_threads=threads, schedule="dynamic", chunksize=1):
                    self.run_block(n, memory + threadid() * each, shared, bases, strides,
                                   images, scale, 1)

    cdef int run_once(self, char* shared) except -1:
        cdef int i, j
        cdef Step* step
        cdef char args[MOST_ARGS]
        for i in range(self.count):
            step = &self.steps[i]
            if step.once:
                memcpy(args, step.args, step.size)
                for j in range(step.pointers):
                    if step.place[j] == SHARED:
                        (<char**> args)[j] = shared + step.offset[j]
                run(step.loop, args, step.size, step.pointers, step.tasks, 1e6)
        return 0

    cdef void run_block(self, Py_ssize_t n, char* memory, char* shared, char** bases,
                        Py_ssize_t* strides, Py_ssize_t images, double scale, int sharing) noexcept nogil:
        cdef Py_ssize_t room = (self.scratch_size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        cdef char* scratch = memory + (self.arena_size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        cdef char* args = scratch + room * sharing
        cdef Py_ssize_t live = min(self.images, images - n * self.images), task
        cdef Step* step
        cdef kernel loop
        cdef int i, j
        for i in range(self.count):
            step = &self.steps[i]
            if step.once:
                continue
            loop = step.loop
            memcpy(args, step.args, step.size)
            for j in range(step.pointers):
                if step.place[j] >= 0:
                    (<char**> args)[j] = (bases[step.place[j]] + n * strides[step.place[j]]
                                          + step.offset[j])
                elif step.place[j] == ARENA:
                    (<char**> args)[j] = memory + step.offset[j]
                elif step.place[j] == SHARED:
                    (<char**> args)[j] = shared + step.offset[j]
            if self.images == 1:
                pass           # whatever is packed are not images
            elif loop == self.table.pack or loop == self.table.unpack:
                (<Pack*> args).N = live
            elif loop == self.table.linear_weight:
                (<LinearWeight*> args).N = live
            elif loop == self.table.loss:
                (<Loss*> args).N = live
                (<Loss*> args).scale = (<Loss*> args).scale * scale
            if sharing > 1 and step.tasks > 1 and step.work >= SHARED_WORK:
                for task in prange(step.tasks, num_threads=sharing, schedule="dynamic", chunksize=1):
                    loop(args, task, scratch + threadid() * room)
            else:
                for task in range(step.tasks):
                    loop(args, task, scratch)
