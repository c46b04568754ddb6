/* Holds the vectors of src/kernels/dot.h against plain arithmetic; the exit status is 0 if all agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dot.h"

static int32_t each[INTS];

static int32_t lane(ints v, int i)
{
    memcpy(each, &v, sizeof v);
    return each[i];
}

int main(void)
{
    int wrong = 0;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        unsigned char x[4], b[INTS + 1];
        signed char w[4 * INTS];
        float f[INTS];
        const int start = rand() % 1000 - 500;
        for (int i = 0; i < 4; i++) x[i] = (unsigned char)rand();
        for (int i = 0; i < 4 * INTS; i++) w[i] = (signed char)rand();
        for (int i = 0; i < INTS; i++) f[i] = (float)(rand() % 4000 - 2000) / 8.0f;
        const ints sums = ints_dot(ints_same(start), ints_all(x), ints_at(w));
        for (int i = 0; i < INTS; i++) {
            int sum = start;
            for (int j = 0; j < 4; j++) sum += (x[j] - DOT_OFFSET) * w[4 * i + j];
            wrong += lane(sums, i) != sum;
        }
        for (int i = 0; i < INTS; i++) {
            const int more = lane(sums, i), larger = lane(ints_larger(sums, ints_same(start)), i);
            wrong += larger != (more > start ? more : start);
        }
        wrong += ints_any(numbers_odd(numbers_at(f)));
        {
            const int bad = rand() % INTS;
            const float kept = f[bad];
            f[bad] = round % 2 ? NAN : INFINITY;
            const ints odd = numbers_odd(numbers_at(f));
            for (int i = 0; i < INTS; i++) wrong += (lane(odd, i) != 0) != (i == bad && round % 2);
            wrong += ints_any(odd) != round % 2;
            f[bad] = kept;
        }
        b[INTS] = 77;
        bytes_store(b, numbers_rounded(numbers_at(f), -20, 235) + ints_same(20), INTS);
        for (int i = 0; i < INTS; i++) {
            const float v = f[i] > 235 ? 235 : f[i] > -20 ? f[i] : -20;
            wrong += b[i] != (unsigned char)(rintf(v) + 20);
            wrong += lane(ints_of_bytes(b, INTS), i) != b[i];
            {
                const int m = w[i];
                wrong += lane(ints_times(ints_same(start), ints_of_bytes(b, INTS), ints_same(m)), i) != start + b[i] * m;
            }
        }
        wrong += b[INTS] != 77;
        {
            unsigned char most[100], other[100];
            for (int i = 0; i < 100; i++) most[i] = (unsigned char)rand(), other[i] = (unsigned char)rand();
            const int count = rand() % 99, before = most[50], after = most[count];
            const unsigned char *const rows[] = {other, other};
            bytes_largest(most, rows, 2, count, 0);
            wrong += count > 50 && most[50] != (before > other[50] ? before : other[50]);
            wrong += most[count] != after;
            bytes_largest(most, rows, 2, count, 1);
            wrong += memcmp(most, other, (size_t)count) != 0;
        }
    }
    printf("%d integers, %d wrong\n", INTS, wrong);
    return wrong != 0;
}
