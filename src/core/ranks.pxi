# Runs of a batch that several processes, the *ranks*, share.
#
# Each rank has neighbours among the blocks of the batch, and adds up its parts by *pieces*: whole subtrees
# of the tree over all blocks.  What a segment's reductions make of a piece lies together, is sent to all
# ranks, and each of them adds up the pieces of all of them, in the order of the tree: so all have the sums
# that one process would have, bit for bit.  What nobody reads before the end of the run is *late*: it
# travels while the next segments run.

cdef struct Piece:
    Py_ssize_t first, count    # blocks of the batch
    char* at                   # its sums


cdef int pieces_of(Py_ssize_t first, Py_ssize_t end, Py_ssize_t most, Piece* pieces) noexcept nogil:
    # The subtrees, of at most so many blocks, that the blocks from `first` to `end` - 1 consist of.  Their number, if
    # `pieces` is NULL.
    cdef Py_ssize_t size
    cdef int count = 0
    while first < end:
        size = 1
        while 2 * size <= most and first % (2 * size) == 0 and first + 2 * size <= end:
            size *= 2
        if pieces != NULL:
            pieces[count].first, pieces[count].count = first, size
        count += 1
        first += size
    return count


cdef int lay_out_sums(Recorder made) except -1:
    # Where the sums of each reduction lie in those of a piece, and what is late.
    cdef int i, j, s
    cdef Step* step
    cdef Segment* segment
    for i in range(made.lives.steps - 1, made.befores - 1, -1):
        step = &made.steps[i]
        step.late = (step.time == EACH_WAVE or step.time == EACH_BATCH) and not read_before_the_end(made, i)
    for s in range(made.last + 1):
        segment = &made.segments[s]
        for late in range(2):
            for i in range(segment.reductions, segment.wholes):
                step = &made.steps[i]
                if step.late == late:
                    step.each_sum = sums_of(made.table, step)
                    step.sums = segment.sums[0] * late + segment.sums[late]
                    segment.sums[late] += whole_lines(step.each_sum * (step.pointers - step.inputs))
    return 0


cdef bint read_before_the_end(Recorder made, int number) noexcept:
    cdef const Step* step = &made.steps[number]
    cdef const Step* other
    cdef int i, j, k
    for i in range(made.lives.steps):
        other = &made.steps[i]
        if i == number or other.time == NEVER or other.late:
            continue
        for j in range(step.inputs, step.pointers):
            for k in range(other.pointers):
                if step.life[j] >= 0 and other.life[k] == step.life[j]:
                    return True
    return False


cdef Py_ssize_t sums_of(const Table* table, const Step* step) noexcept:
    # Bytes of each result of a reduction.
    if step.loop == table.batch_norm_merge:
        return (<const BatchMerge*> step.args).C * table.itemsize
    if step.loop == table.linear_weight or HALVES != NULL and step.loop == HALVES.linear_weight:
        return (<const LinearWeight*> step.args).K * (<const LinearWeight*> step.args).C * table.itemsize
    return (<const BlockSum*> step.args).count * table.itemsize


cdef void add_piece(Steps made, const Segment* segment, int late, char* left, char* right, Py_ssize_t left_images,
                    Py_ssize_t images) noexcept nogil:
    # The sums of both, in the place of the left one.
    cdef const Step* step
    cdef BlockSum a
    cdef BatchMerge merge
    cdef int i
    cdef Py_ssize_t task
    for i in range(segment.reductions, segment.wholes):
        step = &made.steps[i]
        if step.late != late:
            continue
        if step.loop == made.table.batch_norm_merge:
            memcpy(&merge, step.args, sizeof(merge))
            merge.parts = merge.mean = left + step.sums
            merge.squares = left + step.sums + step.each_sum
            merge.N, merge.first, merge.blocks, merge.step = 2, 0, 2, right - left
            merge.each, merge.images = left_images, images
            for task in range(step.tasks):
                step.loop(&merge, task, NULL)
        else:
            a.x = a.y = left + step.sums
            a.N, a.first, a.blocks, a.step = 2, 0, 2, right - left
            a.count, a.chunk = step.each_sum // made.table.itemsize, SUM_CHUNK
            for task in range((a.count + SUM_CHUNK - 1) // SUM_CHUNK):
                made.table.block_sum(&a, task, NULL)


cdef int add_pieces(Steps made, const Segment* segment, int late, Piece* pieces, int count, bint all,
                    Py_ssize_t images) noexcept nogil:
    # Neighbours in the tree become one piece; `all` of them, if none is missing.  How many are left.
    cdef int top = 0, i
    cdef Piece* left
    cdef Piece* right
    for i in range(count + all):
        if i < count:
            pieces[top] = pieces[i]
            top += 1
        while top > 1:
            left, right = &pieces[top - 2], &pieces[top - 1]
            if i < count and (left.count != right.count or left.first % (2 * left.count)):
                break
            add_piece(made, segment, late, left.at, right.at, left.count * made.images,
                      min(images - left.first * made.images, (left.count + right.count) * made.images))
            left.count += right.count
            top -= 1
    return top


cdef void sum_own_pieces(Steps made, const Segment* segment, Run* r, const Piece* pieces, int count) noexcept nogil:
    # All blocks of this rank through a segment, and the sums of each piece.
    cdef int p = 0, q, i
    cdef Run here
    cdef Py_ssize_t first
    while p < count:
        r.first, r.count = pieces[p].first - r.at, 0
        q = p
        while q < count and r.count + pieces[q].count <= WAVE:
            r.count += pieces[q].count
            q += 1
        made.run_wave(segment, r)
        while p < q:
            first = pieces[p].first - r.at
            here = r[0]
            here.N = here.count = pieces[p].count
            here.first = 0
            here.images = here.total = min(r.images - first * made.images, pieces[p].count * made.images)
            here.parts = r.parts + (first - r.first) * made.parts_size
            here.kept = r.kept + first * made.kept_size
            here.sums = pieces[p].at
            for i in range(segment.reductions, segment.wholes):
                made.run_step(&made.steps[i], 0, r.memory, &here, r.threads)
            p += 1


cdef void take_sums(Steps made, const Segment* segment, int late, const Run* r, const char* sums) noexcept nogil:
    # To where the steps that follow, or the caller, look for them.
    cdef const Step* step
    cdef char* y
    cdef int i, j
    for i in range(segment.reductions, segment.wholes):
        step = &made.steps[i]
        if step.late == late:
            for j in range(step.inputs, step.pointers):
                y = r.shared if step.home[j] == SHARED else <char*> r.views[step.home[j]].buf
                memcpy(y + step.offset[j], sums + step.sums + (j - step.inputs) * step.each_sum, step.each_sum)


cdef void do_wholes(Steps made, const Segment* segment, int late, const Run* r) noexcept nogil:
    cdef int i
    for i in range(segment.wholes, segment.end):
        if made.steps[i].late == late:
            made.run_step(&made.steps[i], 0, r.memory, r, r.threads)


cdef int run_shared(Steps made, Run* r, share) except -1:
    # All segments.  `share` tells which blocks each rank has, and gathers what all of them give.
    cdef tuple starts = tuple(share.starts)  # of the blocks of each rank, and their number
    cdef int rank = share.rank, s, late, most = 0
    cdef cpu_mode mode
    cdef int ranks = <int> len(starts) - 1
    if not 0 <= rank < ranks or share.images < 1 or sorted(starts) != list(starts) or starts[0] != 0 or (
            starts[ranks] != (share.images + made.images - 1) // made.images) or (
            r.N != starts[rank + 1] - starts[rank]):
        raise ValueError(f"share: {starts} are not the blocks of {share.images} images")
    r.at, r.total = starts[rank], share.images
    if r.images != max(0, min(r.total - r.at * made.images, r.N * made.images)):
        raise ValueError(f"share: expected {r.N} blocks of images, got {r.images} images")
    for first, end in zip(starts, starts[1:]):
        most = max(most, pieces_of(first, end, PY_SSIZE_T_MAX // 2, NULL))
    waiting = []
    for s in range(made.last + 1):
        sent = send_segment(made, &made.segments[s], r, share, most)
        finish(made, s, 0, r, starts, most, sent[0])
        waiting.append(sent[1])
        mode = flush_denormals()
        do_wholes(made, &made.segments[s], 0, r)
        put_back(mode)
    for s, sent in enumerate(waiting):
        finish(made, s, 1, r, starts, most, sent)
        mode = flush_denormals()
        do_wholes(made, &made.segments[s], 1, r)
        put_back(mode)
    return 0


cdef list send_segment(Steps made, const Segment* segment, Run* r, share, int most):
    # The sums of a segment on their way: two functions that wait for those of all ranks, or None.
    cdef Py_ssize_t each = segment.sums[0] + segment.sums[1], start = 0
    cdef int count = pieces_of(r.at, r.at + r.N, WAVE, NULL), left, i, late
    cdef cpu_mode mode
    cdef Memory pieces_memory = Memory(2 * max(count, 1) * sizeof(Piece)), sums = Memory(<object> each * max(count, 1))
    cdef Memory sent
    cdef Piece* pieces = <Piece*> pieces_memory.address
    cdef Piece* some = pieces + max(count, 1)
    pieces_of(r.at, r.at + r.N, WAVE, pieces)
    for i in range(count):
        pieces[i].at = sums.address + i * each
    with nogil:
        mode = flush_denormals()
        sum_own_pieces(made, segment, r, pieces, count)
        put_back(mode)
    handles = []
    for late in range(2):
        if not segment.sums[late]:
            handles.append(None)
            continue
        memcpy(some, pieces, count * sizeof(Piece))
        mode = flush_denormals()
        left = add_pieces(made, segment, late, some, count, False, r.total)
        put_back(mode)
        sent = Memory(<object> segment.sums[late] * most)
        memset(sent.address, 0, segment.sums[late] * most)
        for i in range(left):
            memcpy(sent.address + i * segment.sums[late], some[i].at + start, segment.sums[late])
        start += segment.sums[late]
        handles.append(share.send(sent, bool(late)))
    return handles


cdef int finish(Steps made, int s, int late, const Run* r, tuple starts, int most, handle) except -1:
    # Take what all ranks have sent, add it up, and put it where it belongs.
    cdef const Segment* segment = &made.segments[s]
    cdef Py_ssize_t size = segment.sums[late]
    cdef int count = 0, ranks = <int> len(starts) - 1, number, k
    cdef Memory room, pieces_memory
    cdef Piece* pieces
    cdef Py_buffer view
    cdef cpu_mode mode
    if not size:
        return 0
    found = tuple(handle())
    if len(found) != ranks:
        raise ValueError(f"share: expected the sums of {ranks} ranks, got {len(found)}")
    room = Memory(<object> size * most * ranks)
    pieces_memory = Memory(<object> most * ranks * sizeof(Piece))
    pieces = <Piece*> pieces_memory.address
    for number in range(ranks):
        PyObject_GetBuffer(found[number], &view, PyBUF_SIMPLE)
        try:
            if view.len != size * most:
                raise ValueError(f"share: expected {size * most} bytes of rank {number}, got {view.len}")
            memcpy(room.address + number * most * size, view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        k = pieces_of(starts[number], starts[number + 1], PY_SSIZE_T_MAX // 2, pieces + count)
        for k in range(k):  # the sums of late reductions are counted from those of the others on
            pieces[count].at = room.address + (number * most + k) * size - late * segment.sums[0]
            count += 1
    mode = flush_denormals()
    add_pieces(made, segment, late, pieces, count, True, r.total)
    take_sums(made, segment, late, r, pieces[0].at)
    put_back(mode)
    return 0
