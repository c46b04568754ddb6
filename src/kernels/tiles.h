/* Tiles of AMX: eight registers of up to 16 rows of 64 bytes, and products of them.
 *
 * A kernel sets their shapes (`tiles_begin`), multiplies, and gives them back (`tiles_end`), all in one task, so that no
 * thread keeps them.  Their numbers, 0 to 7, are literals.  With CNN_EXT_SOFT_TILES the same is computed in plain C, to
 * the bit as Intel describes it: for tests on a CPU without them.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBUSD and TDPBF16PS.
 */
#ifndef CNN_EXT_TILES_H
#define CNN_EXT_TILES_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

static inline tile_shapes tile_shapes_none(void)
{
    tile_shapes s;
    memset(&s, 0, sizeof s);
    s.palette = 1;
    return s;
}
static inline void tile_shape(tile_shapes *s, int tile, int rows, int row_bytes)
{
    s->rows[tile] = (uint8_t)rows;
    s->row_bytes[tile] = (uint16_t)row_bytes;
}

#ifndef CNN_EXT_SOFT_TILES
#include <immintrin.h>
/* what was written at p is in memory: GCC's instructions of tiles do not say that they read it */
static inline void tile_written(const void *p) { __asm__ volatile("" : : "r"(p) : "memory"); }
#define tiles_begin(shapes) (tile_written(shapes), _tile_loadconfig(shapes))
#define tiles_end() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, p, stride) do { tile_written(p); _tile_loadd(t, p, stride); } while (0)
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
/* c += a b of rows of a (unsigned bytes; bfloat16) and columns of b (signed bytes, four rows of the product in each of
 * its rows; bfloat16, two): c holds 32-bit integers or floats */
#define tile_dot_bytes(c, a, b) _tile_dpbusd(c, a, b)
#define tile_dot_halves(c, a, b) _tile_dpbf16ps(c, a, b)
/* copies up to 64 bytes */
static inline void tile_line(void *to, const void *from, int bytes)
{
    const __mmask64 in = ~UINT64_C(0) >> (64 - bytes);
    _mm512_mask_storeu_epi8(to, in, _mm512_maskz_loadu_epi8(in, from));
}
#else
#include <math.h>
#include <stdlib.h>
static _Thread_local struct {
    tile_shapes shapes;
    unsigned char data[8][16][64];
} tiles;

static inline void tiles_begin(const tile_shapes *shapes)
{
    tiles.shapes = *shapes;
    memset(tiles.data, 0, sizeof tiles.data);
}
static inline void tiles_end(void) { memset(&tiles, 0, sizeof tiles); }
static inline void tile_zero(int t) { memset(tiles.data[t], 0, sizeof tiles.data[t]); }
static inline void tile_load(int t, const void *p, ptrdiff_t stride)
{
    tile_zero(t);
    for (int r = 0; r < tiles.shapes.rows[t]; r++)
        memcpy(tiles.data[t][r], (const char *)p + r * stride, tiles.shapes.row_bytes[t]);
}
static inline void tile_store(int t, void *p, ptrdiff_t stride)
{
    for (int r = 0; r < tiles.shapes.rows[t]; r++)
        memcpy((char *)p + r * stride, tiles.data[t][r], tiles.shapes.row_bytes[t]);
}
static inline void tile_line(void *to, const void *from, int bytes) { memcpy(to, from, (size_t)bytes); }
/* others are an illegal instruction */
static inline void tiles_must_fit(int c, int a, int b)
{
    const uint8_t *rows = tiles.shapes.rows;
    const uint16_t *row_bytes = tiles.shapes.row_bytes;
    if (rows[a] != rows[c] || row_bytes[a] != 4 * rows[b] || row_bytes[b] != row_bytes[c] || !rows[a] || !rows[b])
        abort();
}
static inline void tile_dot_bytes(int c, int a, int b)
{
    tiles_must_fit(c, a, b);
    for (int m = 0; m < tiles.shapes.rows[c]; m++)
        for (int k = 0; k < tiles.shapes.row_bytes[a] / 4; k++)
            for (int n = 0; n < tiles.shapes.row_bytes[c] / 4; n++) {
                uint32_t sum; /* which wraps around */
                memcpy(&sum, tiles.data[c][m] + 4 * n, 4);
                for (int i = 0; i < 4; i++)
                    sum += (uint32_t)((int)tiles.data[a][m][4 * k + i] * (signed char)tiles.data[b][k][4 * n + i]);
                memcpy(tiles.data[c][m] + 4 * n, &sum, 4);
            }
}
static inline float tile_flushed(float v) { return fabsf(v) < 1.17549435e-38f ? copysignf(0.0f, v) : v; }
static inline float tile_half(const unsigned char *p)
{
    uint16_t half;
    uint32_t bits;
    float v;
    memcpy(&half, p, 2);
    bits = (uint32_t)half << 16;
    memcpy(&v, &bits, 4);
    return tile_flushed(v);
}
static inline void tile_dot_halves(int c, int a, int b)
{
    tiles_must_fit(c, a, b);
    /* sums of even and of odd numbers, which are added at the end; nothing is denormal */
    for (int m = 0; m < tiles.shapes.rows[c]; m++)
        for (int n = 0; n < tiles.shapes.row_bytes[c] / 4; n++) {
            float sums[2] = {0.0f, 0.0f}, before;
            for (int k = 0; k < tiles.shapes.row_bytes[a] / 4; k++)
                for (int i = 0; i < 2; i++)
                    sums[i] = tile_flushed(fmaf(tile_half(tiles.data[a][m] + 4 * k + 2 * i),
                                                tile_half(tiles.data[b][k] + 4 * n + 2 * i), sums[i]));
            memcpy(&before, tiles.data[c][m] + 4 * n, 4);
            before = tile_flushed(tile_flushed(before) + tile_flushed(sums[0] + sums[1]));
            memcpy(tiles.data[c][m] + 4 * n, &before, 4);
        }
}
#endif
#endif
