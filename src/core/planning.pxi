# What becomes of a recording: where its memory lies in a run, and in which order its steps are done.

cdef int plan(Recorder made, results) except -1:
    # The memory of `results` becomes streams; all other that the steps use gets its place.
    cdef int i, j
    cdef Step* step
    cdef Life* life
    cdef Stream* stream
    stream_of = find_results(made, results)
    forget_the_unused(made, set(stream_of))
    plan_memory(made, stream_of)
    for i in range(made.lives.steps):
        step = &made.steps[i]
        if step.time == NEVER:
            continue
        if step.time != BEFORE:
            made.work += step.work
            made.scratch_size = max(made.scratch_size, step.scratch)
        for j in range(step.pointers):
            if step.home[j] == ARENA:
                life = &made.lives.life[step.life[j]]
                step.home[j] = life.home
                if life.home < 0:
                    step.offset[j] += life.offset
                    step.stride[j] = (made.parts_size if life.home == PARTS
                                      else made.kept_size if life.home == KEPT else 0)
            if step.home[j] >= 0:
                stream = &made.streams[step.home[j]]
                step.stride[j] = 0 if stream.whole else stream.size
                stream.written |= j >= step.inputs
                stream.plain &= (step.marks & LIVE and j < 2 and step.marks & FIRST_PLAIN << j
                                 and step.offset[j] == 0)
    put_in_order(made)
    lay_out_sums(made)
    free(made.lives.life)
    made.lives.life, made.lives.count = NULL, 0
    made.done = True
    return 0


cdef dict find_results(Recorder made, results):
    # Which stream becomes of which life.
    cdef int number
    cdef Life* life
    cdef Stream* stream
    stream_of = {}
    for array in tuple(results):
        made.add_stream(array)
        stream = &made.streams[made.count - 1]
        for number in range(made.lives.count):
            life = &made.lives.life[number]
            if (life.owner != NULL and life.address == stream.address and life.size == stream.size
                    and life.used and number not in stream_of):
                stream_of[number] = made.count - 1
                stream.whole = life.holds == WHOLE
                break
        else:
            raise RecordingError("a result is no array of its own that the kernels wrote")
    return stream_of


cdef int forget_the_unused(Recorder made, set wanted) except -1:
    # Steps on constants whose results no other step reads: somebody else's, of the same weights.
    cdef int i, j
    cdef Step* step
    cdef bint needed
    for i in range(made.lives.steps):
        step = &made.steps[i]
        if step.streaming:
            wanted.update([step.life[j] for j in range(step.pointers)])
    for i in range(made.lives.steps - 1, -1, -1):
        step = &made.steps[i]
        needed = step.streaming
        for j in range(step.inputs, step.pointers):
            needed |= step.home[j] >= 0 or step.life[j] in wanted and step.home[j] == ARENA
        if needed:
            wanted.update([step.life[j] for j in range(step.pointers)])
        else:
            step.time = NEVER
    return 0


cdef int plan_memory(Recorder made, dict stream_of) except -1:
    # A place for each life that a step uses.
    cdef int i, j, number
    cdef Step* step
    cdef Life* life
    used = set()
    for i in range(made.lives.steps):
        step = &made.steps[i]
        for j in range(step.pointers):
            if step.home[j] != ARENA or step.time == NEVER:
                continue
            number = step.life[j]
            life = &made.lives.life[number]
            if number not in used:
                used.add(number)
                life.home, life.least, life.most = ARENA, step.segment, step.segment
            if step.time == BEFORE:
                life.home = SHARED
            life.least = min(life.least, step.segment)
            life.most = max(life.most, step.segment)
            if step.time == EACH_WAVE and (j == 0 or j == 1 and step.marks & GATHERS):
                life.reduced = True
                life.gathered |= step.marks & GATHERS != 0
    homes = {ARENA: [], PARTS: [], KEPT: []}
    for number in sorted(used):
        life = &made.lives.life[number]
        if number in stream_of:
            life.home = stream_of[number]
        elif life.holds == WHOLE or life.home == SHARED:
            life.home, life.offset = SHARED, made.shared_size
            made.shared_size += whole_lines(life.size)
        else:
            life.home = KEPT if life.least < life.most or life.gathered else PARTS if life.reduced else ARENA
            homes[life.home].append(number)
    made.arena_size = fit(made, homes[ARENA])
    made.parts_size = fit(made, homes[PARTS])
    made.kept_size = fit(made, homes[KEPT])
    return 0


cdef Py_ssize_t fit(Recorder made, list numbers) except -1:
    # The bytes that these lives take.  What is reduced is needed after all steps of the blocks of its segment.
    cdef int number
    cdef Py_ssize_t size
    cdef Life* life = made.lives.life
    sizes = [life[<int> n].size for n in numbers]
    starts = [life[<int> n].first for n in numbers]
    ends = [max(life[<int> n].end, end_of(made, life[<int> n].most) if life[<int> n].reduced else 0) for n in numbers]
    offsets, size = first_fit(sizes, starts, ends, ALIGNMENT)
    for number, offset in zip(numbers, offsets):
        life[number].offset = offset
    return size


cdef int end_of(Recorder made, int segment) noexcept:
    # The number of steps before the first one of a block that comes after the segment.
    cdef int i
    for i in range(made.lives.steps):
        if made.steps[i].time == EACH_BLOCK and made.steps[i].segment > segment:
            return i
    return made.lives.steps


cdef int put_in_order(Recorder made) except -1:
    # The steps by segments, in each those of the blocks, of the waves and of the batch.
    cdef int count = made.lives.steps, i, s, segments
    cdef Step* steps
    cdef Segment* segment
    order = []
    for i in range(count):
        made.last = max(made.last, made.steps[i].segment)
    segments = made.last + 1
    for i in range(count):
        s = made.steps[i].segment
        if made.steps[i].time == BEFORE or made.steps[i].time == NEVER:
            s = -1 if made.steps[i].time == BEFORE else segments
        order.append((s, made.steps[i].time, i))
    made.segments = <Segment*> malloc(segments * sizeof(Segment))
    steps = <Step*> malloc(max(1, count) * sizeof(Step))
    if steps == NULL or made.segments == NULL:
        free(steps)
        raise MemoryError("recording")
    memset(made.segments, 0, segments * sizeof(Segment))
    for s, time, i in order:
        if 0 <= s < segments:
            segment = &made.segments[s]
            segment.end += 1
            segment.wholes += time <= EACH_WAVE
            segment.reductions += time == EACH_BLOCK
            segment.work += made.steps[i].work if time == EACH_BLOCK else 0
        made.befores += s < 0
    for i, entry in enumerate(sorted(order)):
        steps[i] = made.steps[<int> entry[2]]
    free(made.steps)
    made.steps = steps
    i = made.befores  # counts become offsets
    for s in range(segments):
        segment = &made.segments[s]
        segment.first = i
        segment.reductions += i
        segment.wholes += i
        segment.end += i
        i = segment.end
    return 0
