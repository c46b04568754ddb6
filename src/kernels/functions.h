/* The elementwise functions, the one list of them: the loops (`map.h`), the numbers and the names that
 * Python knows are made of it.
 *
 * ONE(name, formula, saved, gradient): `formula` of a.  `name_back` is `gradient`, of b = dy and a, the
 * input x or the output y as `saved` says.
 * TWO(name, formula, gradient_a, gradient_b): `formula` of a and b.  `name_back_a` and `name_back_b` are the
 * gradients to a and to b, of the operands and c = dy.
 * p and q are two numbers, the parameters; `map.h` has the short words.
 *
 * At a kink the gradients are PyTorch's: 0 at the edges of clip (its hardtanh and relu6; its clamp lets them
 * pass), hardsigmoid and hardswish (1 at 3), half for each where minimum and maximum meet equals.
 */
#ifndef CNN_EXT_FUNCTIONS_H
#define CNN_EXT_FUNCTIONS_H

#define SELU_SCALE R(1.0507009873554804934)
#define SELU_ALPHA R(1.6732632423543772848)

#define FUNCTIONS(ONE, TWO) \
    ONE(relu, vec_relu(a), y, where(above(a, 0), b, zero)) \
    ONE(leaky_relu, where(below(a, 0), a * p, a), y, where(above(a, 0), b, b * p)) \
    ONE(clip, vec_clip(a, p, q), y, where(between(p, a, q), b, zero)) \
    ONE(sigmoid, vec_sigmoid(a), y, b * a * (one - a)) \
    ONE(tanh, vec_tanh(a), y, b * (one - a * a)) \
    ONE(elu, where(above(a, 0), a, vec_expm1(a) * p), x, where(above(a, 0), b, b * p * vec_exp(a))) \
    ONE(selu, where(above(a, 0), a, vec_expm1(a) * SELU_ALPHA) * SELU_SCALE, x, \
        where(above(a, 0), b, b * SELU_ALPHA * vec_exp(a)) * SELU_SCALE) \
    ONE(gelu, vec_gelu(a), x, b * vec_gelu_slope(a)) \
    ONE(gelu_tanh, vec_gelu_tanh(a), x, b * vec_gelu_tanh_slope(a)) \
    ONE(silu, vec_silu(a), x, b * vec_silu_slope(a)) \
    ONE(hardsigmoid, vec_clip(a * p + q, 0, 1), x, where(on_slope(a, p, q), b * p, zero)) \
    ONE(hardswish, where(below(a, -3), zero, a * (vec_clip(a + R(3), 0, 6) * R(1.0 / 6))), x, \
        where(above(a, -3), where(below(a, 3), b * (a * R(1.0 / 3) + R(0.5)), b), zero)) \
    ONE(softplus, where(above(a * p, q), a, vec_softplus(a * p) / p), x, \
        where(above(a * p, q), b, b * vec_sigmoid(a * p))) \
    ONE(mish, vec_mish(a), x, b * vec_mish_slope(a)) \
    ONE(softsign, vec_finite(a) / (one + vec_abs(vec_finite(a))), x, b / (one + vec_abs(a)) / (one + vec_abs(a))) \
    ONE(abs, vec_abs(a), x, where(above(a, 0), b, where(below(a, 0), -b, zero))) \
    ONE(neg, -a, x, -b) \
    ONE(exp, vec_exp(a), y, b * a) \
    ONE(log, vec_log(a), x, b / a) \
    ONE(sqrt, vec_sqrt(a), y, b * R(0.5) / a) \
    ONE(reciprocal, one / a, y, -b * a * a) \
    ONE(square, a * a, x, (b + b) * a) \
    ONE(erf, vec_erf(a), x, b * R(1.1283791670955126) * vec_exp(-a * a)) \
    ONE(power, vec_pow(a, vec_all(p)), x, b * pow_slope(a, vec_all(p))) \
    ONE(bfloat16, vec_bfloat16(a), y, vec_bfloat16(b)) \
    ONE(fake_quantize, vec_nearest(vec_clip(a / p, -q, 255 - q)) * p, x, \
        where(between(R(-0.5) - q, a / p, R(255.5) - q), b, zero)) \
    TWO(add, a + b, c, c) \
    TWO(add_clip, vec_clip(a + b, p, q), where(between(p, a + b, q), c, zero), where(between(p, a + b, q), c, zero)) \
    TWO(sub, a - b, c, -c) \
    TWO(mul, a * b, c * b, c * a) \
    TWO(div, a / b, c / b, -c * (a / b) / b) \
    TWO(prelu, where(below(a, 0), a * b, a), where(above(a, 0), c, c * b), where(above(a, 0), zero, c * a)) \
    TWO(minimum, where(mask_or(vec_above(b, a), vec_nan(a)), a, b), share(c, b, a), share(c, a, b)) \
    TWO(maximum, where(mask_or(vec_above(a, b), vec_nan(a)), a, b), share(c, a, b), share(c, b, a)) \
    TWO(pow, vec_pow(a, b), c * pow_slope(a, b), c * vec_pow(a, b) * log_of_base(a, b))

#define NAME_ONE(name, formula, saved, gradient) #name, #name "_back",
#define NAME_TWO(name, formula, gradient_a, gradient_b) #name, #name "_back_a", #name "_back_b",
#define SAVED_ONE(name, formula, saved, gradient) #saved, "",
#define SAVED_TWO(name, formula, gradient_a, gradient_b) "", "", "",

static const char *const FUNCTION_NAMES[] = {FUNCTIONS(NAME_ONE, NAME_TWO)};
static const char *const FUNCTION_SAVED[] = {FUNCTIONS(SAVED_ONE, SAVED_TWO)};
enum { FUNCTION_COUNT = sizeof FUNCTION_NAMES / sizeof FUNCTION_NAMES[0] };
#endif
