# The arguments of every kernel, shared by the callers (_core.pyx) and the loops (this folder).
#
# Activations are lane arrays: (blocks, channels, height, width, LANES), the image index innermost.
# Letters: N blocks of LANES images, C input channels and K output channels per group, G groups,
# H x W input, R x S kernel, P x Q output.  Strides count numbers, not bytes.  The pointers to data
# come first in every struct, so that a recorded call can be moved to other data, the inputs before the
# outputs; behind them comes the number of images where lanes beyond the last one matter, and what else
# a recording replaces (the marks in core/steps.pxi): `cut` is in how many pieces each task is.  `live` lanes
# of the last block hold an image; what the others hold goes into no sum.

cdef enum:
    CROSS_ENTROPY, FOCAL, HINGE, BINARY_CROSS_ENTROPY, SQUARED_ERROR, HUBER  # the first three: of classes

cdef enum:
    SGD, ADAM, RMSPROP, AVERAGE, SHRINK

cdef enum:
    ELEMENTS, CHANNELS, IMAGES # what dropout drops


cdef struct Conv:
    # One pass of the forward loops: a grid of P x Q pixels of every output channel, each a sum
    # over C channels and a grid of taps.  Grid pixel (p, q) and tap (i, j) meet at the input pixel
    # (p*step_h + tap_h[i], q*step_w + tap_w[j]), if there is one, with the weight at
    # weight_h[i] + weight_w[j].  Each table of taps ascends or descends.
    const void* x
    const void* w
    const void* bias
    void* y
    Py_ssize_t N, G, C, K, H, W, P, Q, step_h, step_w, taps_h, taps_w
    const Py_ssize_t* tap_h
    const Py_ssize_t* tap_w
    const Py_ssize_t* weight_h
    const Py_ssize_t* weight_w
    Py_ssize_t x_n, x_g, x_c, x_h, x_w
    Py_ssize_t y_n, y_g, y_k, y_h, y_w
    Py_ssize_t w_g, w_k, w_c
    Py_ssize_t rows, channels  # of a task
    Py_ssize_t unit, units     # pairs of channels that count as one of C, where they are of bfloat16, and how many of these
                               # the taps of all channels make
    int clip                   # results to low ... high
    double low, high


cdef struct Turn:
    # u[g, c, k] = w[g, k, c] rotated by 180 degrees, `taps` numbers each
    const void* w
    void* u
    Py_ssize_t C, K, taps


cdef struct ConvWeight:
    # dw[n, k, c, r, s] = sum over the images of each of N blocks and pixels of dy * x
    const void* x
    const void* dy
    void* dw
    Py_ssize_t live
    Py_ssize_t G, C, K, H, W, R, S, P, Q
    Py_ssize_t step_h, step_w, gap_h, gap_w, top, left, N
    Py_ssize_t tiles  # of a task
    int shape         # of the tiles


cdef struct WinogradFilter:
    # u[frequencies, groups of LANES output channels, C, LANES]: the transformed weights, of the kernel rotated by 180
    # degrees if `rotate`
    const void* w
    void* u
    Py_ssize_t K, C, w_k, w_c
    int rotate, taps  # 3 or 5, along each side


cdef struct Winograd:
    # a convolution with stride 1 as far as `Conv`; `chunk` tiles of 4 x 4 outputs a task
    const void* x
    const void* u
    const void* w              # as for WinogradFilter
    const void* bias
    void* y
    Py_ssize_t live, cut
    Py_ssize_t N, C, K, H, W, P, Q, top, left, chunk, w_k, w_c
    int rotate, taps           # 3 or 5, along each side
    int clip
    double low, high


cdef struct WinogradWeight:
    # the gradients to the weights of one block of images each, in the order of `winograd_weight.pxi`
    const void* x
    const void* dy
    void* sums
    Py_ssize_t live, cut
    Py_ssize_t N, C, K, H, W, P, Q, top, left, chunk
    int taps  # 3 or 5, along each side


cdef struct WeightOrder:
    # dw[K, C, taps] from the sum of the parts
    const void* part
    void* dw
    Py_ssize_t C, K, taps


cdef struct LinearWeight:
    # dw[k, c] = sum over images of dy[n, k] * x[n, c]; a block of dy is (K, LANES), one of x (LANES, C): rows
    const void* dy
    const void* x
    void* dw
    Py_ssize_t live            # images, if only a block is added up
    Py_ssize_t N, first, blocks, step, x_step  # bytes from block to block of dy, of x
    Py_ssize_t images, C, K, channels, vectors  # a task: so many rows of dw, and vectors of each
    int by_block


cdef struct ChannelSum:
    # db[k] = sum of dy over N blocks, pixels and lanes
    const void* dy
    void* db
    Py_ssize_t live
    Py_ssize_t N, K, pixels


cdef struct Pool:
    # planes of H x W -> P x Q; argmax holds which tap of the window was the maximum.  Forward, planes
    # and rows may lie apart.
    const void* x
    void* argmax
    void* y
    Py_ssize_t planes, H, W, R, S, P, Q
    Py_ssize_t step_h, step_w, gap_h, gap_w, top, left, bottom, right
    Py_ssize_t x_plane, x_row, y_plane, y_row
    int count_include_pad


cdef struct Map:
    # count numbers, elementwise; op counts the functions of functions.h, of up to three operands
    const void* a
    const void* b
    const void* c
    void* y
    Py_ssize_t count, chunk
    int op
    double p, q


cdef struct ByChannel:
    # N blocks, C channels, `pixels` vectors each, of which a task has `channels`; a number of w and of b, if
    # there are any, belongs to each channel, or one of w to all of them
    const void* x
    const void* dy
    const void* w
    const void* b
    void* y
    Py_ssize_t live
    Py_ssize_t N, C, pixels, channels
    int same, clip
    double low, high


cdef struct Softmax:
    # rows of K channels x pixels, all lanes at once; b is dy in the backward pass
    const void* a
    const void* b
    void* y
    Py_ssize_t N, K, pixels
    int logarithm  # of softmax


cdef struct Loss:
    # cost per image and its gradient (times scale) of N images of K x pixels outputs, in lanes; the weight of
    # an image, 0 or more, multiplies both
    const void* z
    const void* target
    const void* weight
    void* cost
    void* dz
    Py_ssize_t N, K, pixels    # pixels of costs of classes alone
    int op
    double value, scale        # the first: how smooth labels are, gamma or delta


cdef enum:
    LEAF = 4                   # images whose products one run of the inner loop adds up for a linear layer
    WAVE = 16                  # blocks whose parts are kept before they are reduced; a power of two
    LEVELS = 48                # of the tree of all blocks that there can be

cdef struct BlockSum:
    # y = sum over all `blocks` of `count` numbers each, a binary tree.  N of them are here, `step` bytes apart, from
    # block `first` on; behind a whole wave lie, as far apart, sums of waves that came before.
    const void* x
    void* y
    Py_ssize_t N, first, blocks, step
    Py_ssize_t count, chunk


cdef struct BatchStatistics:
    # parts[n, 2, C]: of each channel of block n the mean, and the sum of squared deviations from it
    const void* x
    void* parts
    Py_ssize_t live
    Py_ssize_t N, C, pixels, channels  # the last: of a task, here and below


cdef struct BatchMerge:
    # The same of the whole batch, from parts that lie as those of `BlockSum`.
    const void* parts
    void* mean
    void* squares
    Py_ssize_t N, first, blocks, step, images
    Py_ssize_t C, pixels, chunk, each  # the last: images of a part


cdef struct BatchVariance:
    # var = squares / (images * pixels)
    const void* squares
    void* var
    Py_ssize_t images, C, pixels


cdef struct BatchNorm:
    # y = (x - mean) / sqrt(var + eps) * weight + bias
    const void* x
    const void* mean
    const void* var
    const void* weight
    const void* bias
    void* y
    Py_ssize_t N, C, pixels, channels
    double eps
    int clip                   # results to low ... high
    double low, high


cdef struct BatchSums:
    # parts[n, 2, C]: over block n the sums of dy and of dy times the normalised x; dy counts where the clip lets
    # y through, which weight and bias are told for
    const void* dy
    const void* x
    const void* mean
    const void* var
    const void* weight
    const void* bias
    void* parts
    Py_ssize_t live
    Py_ssize_t N, C, pixels, channels
    double eps
    int clip
    double low, high


cdef struct BatchInput:
    # The gradient at x, from those sums over a batch of `images`; without sums mean and variance are
    # constants.
    const void* dy
    const void* x
    const void* mean
    const void* var
    const void* weight
    const void* bias
    const void* sums
    void* dx
    Py_ssize_t images
    Py_ssize_t N, C, pixels, channels
    double eps
    int clip
    double low, high


cdef struct GroupNorm:
    # As BatchNorm, each image by itself: over the pixels of C channels in each of G groups or, if `across`,
    # over the channels at each pixel.  stats[n, group or pixel, 2]: the mean and 1 / sqrt(var + eps).
    const void* x
    const void* weight
    const void* bias
    void* y
    void* stats
    Py_ssize_t N, G, C, pixels, cut    # the last: pixels of a task, if `across`
    double eps
    int across


cdef struct GroupInput:
    # the gradient at x
    const void* dy
    const void* x
    const void* weight
    const void* stats
    void* dx
    Py_ssize_t N, G, C, pixels, cut
    int across


cdef struct GroupSums:
    # as BatchSums
    const void* dy
    const void* x
    const void* stats
    void* parts
    Py_ssize_t live
    Py_ssize_t N, G, C, pixels, channels
    int across


cdef struct Drop:
    # y = x / (1 - p) where the hash of key, image and number is at least p, else 0.  A number stands for
    # an element, a channel or all of an image.
    const void* x
    const void* key
    void* y
    Py_ssize_t first           # the number of the first image
    Py_ssize_t N, C, pixels, channels
    double p
    int kind


cdef struct Descent:
    # a step of an optimizer on count numbers p by their gradients g, see optimizers.pxi
    const void* g
    void* p
    void* slot[3]
    Py_ssize_t count, chunk
    int rule, nesterov, first
    double work, lr, weight_decay, momentum, dampening, beta1, beta2, eps, keep, root


cdef struct Squares:
    # sums[task] = sum of g^2 over a chunk, in double precision between the chunks
    const void* g
    void* sums
    Py_ssize_t count, chunk


cdef struct Pack:
    # N plain images of `pixels` numbers <-> blocks of LANES; bytes are multiplied by scale
    const void* a
    void* y
    Py_ssize_t N, pixels
    int bytes
    double scale


cdef struct ChannelConv:
    # One image, a vector of output channels at a time: y[block, pixel] = bias[block] + sum over taps
    # of w[block, tap] * x[pixel + tap]; w[block, tap] is a vector, and so is y.  The tables say where
    # the pixels and taps lie in x, and the pixels in y.
    const void* x
    const void* w
    const void* bias
    void* y
    const Py_ssize_t* x_pixel
    const Py_ssize_t* y_pixel
    const Py_ssize_t* x_tap
    const Py_ssize_t* w_tap
    const Py_ssize_t* w_block
    const Py_ssize_t* y_block
    Py_ssize_t pixels, taps, blocks, pixel_cut, block_cut  # the cuts: of a task
    Py_ssize_t x_block                                     # of a depthwise convolution alone, as the pixels a row
    Py_ssize_t across, step                                # if 3 x 3 taps and the pixels lie side by side, else 0
    int clip, bias_of_pixels                               # a number for each pixel, not a vector
    double low, high


cdef struct ChannelWinograd:
    # As `Winograd`, for one image: C and K count blocks of LANES channels, `channels` and `filters` the
    # input and output channels; u[frequencies, K, channels, LANES], w[filters, channels, taps, taps].
    const void* x
    const void* u
    const void* w
    const void* bias
    void* y
    Py_ssize_t C, channels, K, filters, H, W, P, Q, top, left, taps
    Py_ssize_t x_plane, x_row, y_plane, y_row, chunk, block_cut
    int clip
    double low, high


cdef struct Planes:
    # rows of W plain numbers (or bytes, times scale) to where they belong among zeros; for pooling
    # the maxima of 2 x 2 of them, W a row
    const void* x
    void* y
    Py_ssize_t planes, H, W, x_plane, x_row, y_plane, y_row, first, size
    int bytes
    double scale


cdef struct Move:
    # y[target[i]] = x[source[i]], `width` numbers each; Fill: y[i] = value
    const void* x
    void* y
    const Py_ssize_t* source
    const Py_ssize_t* target
    Py_ssize_t count, width
    double value


ctypedef void (*kernel)(const void* args, Py_ssize_t task, char* scratch) noexcept nogil
ctypedef long long (*scratch_size)(const void* args) noexcept nogil  # bytes for each thread

cdef struct Table:
    int lanes, itemsize, peak_sums
    Py_ssize_t (*conv_weight_tasks)(void* args) noexcept nogil
    Py_ssize_t (*conv_weight_pairs_tasks)(void* args) noexcept nogil
    kernel conv, conv_strips, turn, winograd, winograd_filter, conv_weight, conv_weight_strips
    kernel winograd_back, winograd_weight, conv_weight_pairs, weight_order
    scratch_size conv_scratch, conv_weight_scratch, winograd_scratch, winograd_back_scratch, winograd_weight_scratch
    Py_ssize_t (*weight_part)(Py_ssize_t C, Py_ssize_t K, Py_ssize_t taps) noexcept nogil
    scratch_size conv_weight_pairs_scratch
    scratch_size channel_winograd_scratch, peak_scratch
    kernel linear_weight, channel_sum
    kernel max_pool, max_pool_back, avg_pool, avg_pool_back
    kernel affine, prelu, prelu_slope
    kernel elementwise, softmax, softmax_back, loss, block_sum, descend, squares, pack, unpack, peak
    kernel batch_norm_statistics, batch_norm_merge, batch_norm_variance, batch_norm, batch_norm_sums
    kernel batch_norm_input
    kernel group_norm, group_norm_input, group_norm_sums, dropout
    kernel channel_conv, channel_winograd, pool_pairs, depthwise, embed, move, fill, border
