/* Holds the tiles of src/kernels/tiles.h, those of the CPU or those in plain C, against plain arithmetic; the exit status
 * is 0 if all agree. */
#include <stdio.h>
#include <stdlib.h>

#include "tiles.h"

#ifndef CNN_EXT_SOFT_TILES
#include <sys/syscall.h>
#include <unistd.h>
static int granted(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#else
static int granted(void) { return 1; }
#endif

enum { APART = 70 };
static unsigned char a[16 * APART], b[16 * APART];
static char c[16 * APART], before[16 * APART];

static int32_t whole(const char *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}
static float number(const char *p)
{
    float v;
    memcpy(&v, p, 4);
    return v;
}
static int half(const unsigned char *p) /* a whole number from -128 to 127 in bfloat16 */
{
    const unsigned char bits[4] = {0, 0, p[0], p[1]};
    return (int)number((const char *)bits);
}
static void make_half(unsigned char *p)
{
    const float v = (float)(rand() % 256 - 128);
    memcpy(p, (const char *)&v + 2, 2);
}

int main(void)
{
    int wrong = 0;
    if (!granted()) return 2;
    srand(1);
    for (int round = 0; round < 2000; round++) {
        const int rows = 1 + rand() % 16, quads = 1 + rand() % 16, columns = 1 + rand() % 16, halves = round % 2;
        tile_shapes shapes = tile_shapes_none();
        tile_shape(&shapes, 0, rows, 4 * columns);
        tile_shape(&shapes, 6, rows, 4 * quads);
        tile_shape(&shapes, 7, quads, 4 * columns);
        for (int i = 0; i < 16 * APART; i++) {
            a[i] = (unsigned char)rand(), b[i] = (unsigned char)rand(), c[i] = (char)rand();
            if (halves && i % APART % 2 == 0 && i % APART < 64) make_half(a + i), make_half(b + i), i++;
        }
        if (halves) memset(c, 0, sizeof c);
        memcpy(before, c, sizeof c);
        tiles_begin(&shapes);
        tile_zero(0);
        if (round % 3) tile_load(0, c, APART);
        tile_load(6, a, APART);
        tile_load(7, b, APART);
        if (halves) tile_dot_halves(0, 6, 7);
        else tile_dot_bytes(0, 6, 7);
        tile_store(0, c, APART);
        tiles_end();
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 17; j++) {
                const char *result = c + i * APART + 4 * j;
                const int start = whole(before + i * APART + 4 * j), inside = i < rows && j < columns;
                int64_t sum = inside && !(round % 3) ? 0 : start;
                for (int k = 0; inside && k < quads; k++)
                    for (int n = 0; n < 4; n++) {
                        const unsigned char *x = a + i * APART + 4 * k, *w = b + k * APART + 4 * j;
                        if (!halves) sum += x[n] * (signed char)w[n];
                        else if (n % 2 == 0) sum += half(x + n) * half(w + n);
                    }
                if (halves && inside) wrong += number(result) != (float)sum;
                else wrong += whole(result) != (int32_t)sum;
            }
        {
            unsigned char line[65];
            const int bytes = 1 + rand() % 64;
            memset(line, 77, sizeof line);
            tile_line(line, a, bytes);
            wrong += memcmp(line, a, (size_t)bytes) != 0 || line[bytes] != 77;
        }
    }
    printf("%d wrong\n", wrong);
    return wrong != 0;
}
