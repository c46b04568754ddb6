// The interpreter of the network: every operator of its graph on the values of one image.
// A value is {shape, data}; sums are taken in float64 and kept in float32.
"use strict";

const volume = (shape) => shape.reduce((a, b) => a * b, 1);
// (C, H, W) of any shape: a sequence (C, L) is an image of one row, a vector one of one pixel
const image = (shape) =>
  shape.length === 3 ? shape : [shape[0], 1, volume(shape.slice(1))];

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const far = (v) => (v < -200 ? -200 : v); // minus infinity times 0 would be NaN
const bounded = (v, low, high) => (v < low ? low : v > high ? high : v); // NaN stays NaN

function erf(v) {
  // e^(-x^2) 2 / sqrt(pi) times the sum of 2^n x^(2 n + 1) / (1 * 3 * ... (2 n + 1))
  if (Math.abs(v) > 6) return Math.sign(v);
  let term = v, sum = v;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * v * v) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-v * v) * sum;
}

function softplus(v, beta, threshold) {
  const z = beta * v;
  if (z > threshold) return v;
  return (Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))) / beta;
}

// the nearest whole number, the even one of two that are as near: added, this leaves no fraction
const WHOLE = 6755399441055744;
const nearest = (v) => v + WHOLE - WHOLE;
const one = new Float32Array(1), bits = new Uint32Array(one.buffer);

function bfloat16(v) {
  one[0] = v;
  if (Number.isNaN(v)) return v;
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return one[0];
}

function fakeQuantize(v, { scale, zero_point }) {
  const steps = bounded(Math.fround(v / scale), -zero_point, 255 - zero_point);
  return nearest(steps) * scale;
}

// functions of every number by itself
const FUNCTIONS = {
  bfloat16,
  fake_quantize: fakeQuantize,
  clip: (v, a) => bounded(v, a.low, a.high),
  leaky_relu: (v, a) => (v > 0 ? v : v * a.negative_slope),
  sigmoid,
  tanh: Math.tanh,
  elu: (v, a) => (v > 0 ? v : a.alpha * Math.expm1(v)),
  selu: (v) => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v)),
  gelu: (v) => (far(v) * (1 + erf(v / Math.SQRT2))) / 2,
  gelu_tanh: (v) => (far(v) * (1 + Math.tanh(SQRT_2_OVER_PI * (v + 0.044715 * v * v * v)))) / 2,
  silu: (v) => far(v) * sigmoid(v),
  hardsigmoid: (v, a) => bounded(v * a.alpha + a.beta, 0, 1),
  hardswish: (v) => (v < -3 ? 0 : (v * bounded(v + 3, 0, 6)) / 6),
  softplus: (v, a) => softplus(v, a.beta, a.threshold),
  mish: (v) => far(v) * Math.tanh(softplus(v, 1, 40)),
  softsign: (v) => (Math.abs(v) > 1e30 ? Math.sign(v) : v / (1 + Math.abs(v))),
  abs: Math.abs,
  neg: (v) => -v,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  reciprocal: (v) => 1 / v,
  square: (v) => v * v,
  erf,
  power: (v, a) => Math.pow(v, a.exponent),
};

// functions of two values that broadcast
const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  minimum: (a, b) => (b > a || a !== a ? a : b),
  maximum: (a, b) => (a > b || a !== a ? a : b),
  pow: Math.pow,
};

// a value in the larger shape that it broadcasts to, as in NumPy
function spread(x, shape) {
  if (volume(x.shape) === volume(shape)) return x.data;
  const own = [...Array(shape.length - x.shape.length).fill(1), ...x.shape];
  const data = new Float32Array(volume(shape));
  for (let i = 0; i < data.length; i++) {
    let at = 0, step = 1;
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      if (own[axis] > 1) at += (rest % shape[axis]) * step;
      rest = Math.floor(rest / shape[axis]);
      step *= own[axis];
    }
    data[i] = x.data[at];
  }
  return data;
}

function conv2d({ shape, attributes: a, weights: w }, y, x) {
  const [C, H, W] = image(x.shape), [K, P, Q] = image(shape);
  const [R, S] = [1, ...w.weight.shape.slice(2)].slice(-2);
  const [stepH, stepW] = a.stride, [gapH, gapW] = a.dilation, [top, , left] = a.padding;
  const each = C / a.groups, sums = new Float64Array(P * Q);
  for (let k = 0, tap = 0; k < K; k++) {
    sums.fill(w.bias ? w.bias.data[k] : 0);
    const first = Math.floor((k * a.groups) / K) * each;
    for (let c = first; c < first + each; c++)
      for (let r = 0; r < R; r++)
        for (let s = 0; s < S; s++) {
          const weight = w.weight.data[tap++];
          // the columns q whose tap lies inside the image
          const from = Math.max(0, Math.ceil((left - s * gapW) / stepW));
          const to = Math.min(Q, Math.floor((W - 1 + left - s * gapW) / stepW) + 1);
          for (let p = 0; p < P; p++) {
            const h = p * stepH + r * gapH - top;
            if (h < 0 || h >= H) continue;
            const row = (c * H + h) * W + s * gapW - left;
            for (let q = from; q < to; q++) sums[p * Q + q] += weight * x.data[row + q * stepW];
          }
        }
    y.set(sums, k * P * Q);
  }
}

function convTranspose2d({ shape, attributes: a, weights: w }, y, x) {
  const [C, H, W] = x.shape, [K, P, Q] = shape, [, each, R, S] = w.weight.shape;
  const [stepH, stepW] = a.stride, [gapH, gapW] = a.dilation, [top, , left] = a.padding;
  const sums = new Float64Array(K * P * Q);
  if (w.bias) for (let i = 0; i < sums.length; i++) sums[i] = w.bias.data[Math.floor(i / (P * Q))];
  for (let c = 0; c < C; c++) {
    const first = Math.floor((c * a.groups) / C) * each;
    for (let k = 0; k < each; k++)
      for (let r = 0; r < R; r++)
        for (let s = 0; s < S; s++) {
          const weight = w.weight.data[((c * each + k) * R + r) * S + s];
          for (let h = 0; h < H; h++) {
            const p = h * stepH + r * gapH - top;
            if (p < 0 || p >= P) continue;
            for (let v = 0; v < W; v++) {
              const q = v * stepW + s * gapW - left;
              if (q < 0 || q >= Q) continue;
              sums[((first + k) * P + p) * Q + q] += weight * x.data[(c * H + h) * W + v];
            }
          }
        }
  }
  y.set(sums);
}

function linear({ weights: w }, y, x) {
  for (let k = 0, tap = 0; k < y.length; k++) {
    let sum = w.bias ? w.bias.data[k] : 0;
    for (let c = 0; c < x.data.length; c++) sum += w.weight.data[tap++] * x.data[c];
    y[k] = sum;
  }
}

// calls `window(output, rows, columns)` with the taps inside the image, for every window
function windows({ shape, attributes: a }, x, start, take, finish) {
  const [C, H, W] = x.shape, [, P, Q] = shape, [R, S] = a.kernel;
  const [stepH, stepW] = a.stride, [gapH, gapW] = a.dilation || [1, 1], [top, , left] = a.padding;
  for (let c = 0, i = 0; c < C; c++)
    for (let p = 0; p < P; p++)
      for (let q = 0; q < Q; q++, i++) {
        let sum = start;
        for (let r = 0; r < R; r++)
          for (let s = 0; s < S; s++) {
            const h = p * stepH + r * gapH - top, v = q * stepW + s * gapW - left;
            if (h >= 0 && h < H && v >= 0 && v < W) sum = take(sum, x.data[(c * H + h) * W + v]);
          }
        finish(i, sum, p, q);
      }
}

function maxPool(node, y, x) {
  const greatest = (m, v) => (v > m || v !== v ? v : m); // NaN stays
  windows(node, x, -Infinity, greatest, (i, most) => { y[i] = most; });
}

function avgPool(node, y, x) {
  const a = node.attributes, [, H, W] = x.shape, [top, bottom, left, right] = a.padding;
  // pixels of a window that count: those of the padding too, or not, but none behind it
  const count = (p, step, kernel, size, before, behind) => {
    const low = a.count_include_pad ? 0 : before;
    const high = before + size + (a.count_include_pad ? behind : 0);
    return Math.min(p * step + kernel, high) - Math.max(p * step, low);
  };
  windows(node, x, 0, (sum, v) => sum + v, (i, sum, p, q) => {
    const rows = count(p, a.stride[0], a.kernel[0], H, top, bottom);
    y[i] = sum / (rows * count(q, a.stride[1], a.kernel[1], W, left, right));
  });
}

// scale and shift of each channel
function affine(w, key, c, otherwise) {
  return w[key] ? w[key].data[c] : otherwise;
}

function batchNorm({ shape, attributes: a, weights: w }, y, x) {
  const pixels = volume(shape.slice(1));
  for (let i = 0; i < y.length; i++) {
    const c = Math.floor(i / pixels);
    const scale = affine(w, "weight", c, 1) / Math.sqrt(w.var.data[c] + a.eps);
    y[i] = (x.data[i] - w.mean.data[c]) * scale + affine(w, "bias", c, 0);
  }
}

function groupNorm({ shape, attributes: a, weights: w }, y, x) {
  const C = shape[0], pixels = volume(shape.slice(1));
  // a group: pixels of neighbouring channels or, across, the channels of one pixel
  const groups = a.across ? pixels : a.groups, size = y.length / groups;
  const at = (g, j) => (a.across ? j * pixels + g : g * size + j);
  for (let g = 0; g < groups; g++) {
    let mean = 0, squares = 0;
    for (let j = 0; j < size; j++) mean += x.data[at(g, j)] / size;
    for (let j = 0; j < size; j++) squares += (x.data[at(g, j)] - mean) ** 2 / size;
    for (let j = 0; j < size; j++) {
      const i = at(g, j), c = Math.floor(i / (y.length / C));
      const scaled = (x.data[i] - mean) / Math.sqrt(squares + a.eps);
      y[i] = scaled * affine(w, "weight", c, 1) + affine(w, "bias", c, 0);
    }
  }
}

function prelu({ shape, weights: w }, y, x) {
  const slopes = w.slope.data, pixels = slopes.length > 1 ? volume(shape.slice(1)) : y.length;
  for (let i = 0; i < y.length; i++)
    y[i] = x.data[i] < 0 ? x.data[i] * slopes[Math.floor(i / pixels)] : x.data[i];
}

function softmaxes(logarithm) {
  return ({ shape }, y, x) => {
    const pixels = volume(shape.slice(1));
    for (let i = 0; i < pixels; i++) {
      let most = -Infinity, sum = 0;
      for (let j = i; j < y.length; j += pixels) most = Math.max(most, x.data[j]);
      for (let j = i; j < y.length; j += pixels) sum += Math.exp(x.data[j] - most);
      for (let j = i; j < y.length; j += pixels) {
        const z = x.data[j] - most;
        y[j] = logarithm ? z - Math.log(sum) : Math.exp(z) / sum;
      }
    }
  };
}

// runs of (source, first, step, length); the source after the last input fills
function gather({ attributes: a, weights: w }, y, ...inputs) {
  const table = w.runs.data, sources = inputs.map((x) => x.data);
  for (let row = 0, i = 0; row < table.length; row += 4) {
    const source = sources[table[row]];
    for (let j = 0; j < table[row + 3]; j++)
      y[i++] = source ? source[table[row + 1] + j * table[row + 2]] : a.fill;
  }
}

const OPERATORS = {
  conv2d, linear, prelu, gather,
  conv_transpose2d: convTranspose2d,
  max_pool: maxPool,
  avg_pool: avgPool,
  batch_norm: batchNorm,
  group_norm: groupNorm,
  softmax: softmaxes(false),
  log_softmax: softmaxes(true),
  reshape: (node, y, x) => y.set(x.data),
};
for (const [name, f] of Object.entries(FUNCTIONS))
  OPERATORS[name] = ({ attributes }, y, x) => {
    for (let i = 0; i < y.length; i++) y[i] = f(x.data[i], attributes);
  };
for (const [name, f] of Object.entries(BINARY))
  OPERATORS[name] = ({ shape, weights }, y, x, other) => {
    const a = spread(x, shape), b = spread(other || weights.constant, shape);
    for (let i = 0; i < y.length; i++) y[i] = f(a[i], b[i]);
  };

// The network of a description, whose arrays lie in a buffer.  Throws an Error that names an
// operator which is not known here.
function assemble(description, buffer) {
  const number = (value) => // JSON has no infinity
    typeof value === "string" ? Number(value) : Array.isArray(value) ? value.map(number) : value;
  const nodes = description.nodes.map((node) => {
    if (!Object.hasOwn(OPERATORS, node.op))
      throw new Error(`this page does not know the operator ${node.op}`);
    const attributes = {}, weights = {};
    for (const [key, value] of Object.entries(node.attributes)) attributes[key] = number(value);
    for (const [key, [kind, start, shape]] of Object.entries(node.weights)) {
      const Kind = kind === "int32" ? Int32Array : Float32Array;
      weights[key] = { shape, data: new Kind(buffer, start, volume(shape)) };
    }
    return { ...node, attributes, weights };
  });
  return { ...description, nodes, buffer };
}

// All values that an input (float32, without N) causes, by name.
function run(network, input) {
  const values = { [network.input]: { shape: network.inputShape, data: input } };
  for (const node of network.nodes) {
    const data = new Float32Array(volume(node.shape));
    OPERATORS[node.op](node, data, ...node.inputs.map((name) => values[name]));
    const clip = node.attributes.clip;
    if (clip) for (let i = 0; i < data.length; i++) data[i] = bounded(data[i], clip[0], clip[1]);
    values[node.output] = { shape: node.shape, data };
  }
  return values;
}

// What outputs become: probabilities of the classes, or null where they are none.
function probabilities(outputs, kind) {
  const one = outputs.length === 1, y = Array.from(outputs);
  let p;
  if (kind === "logits" && !one) {
    const e = y.map((v) => Math.exp(v - Math.max(...y))), sum = e.reduce((a, b) => a + b, 0);
    p = e.map((v) => v / sum);
  } else if (kind === "logits" || kind === "sigmoid") p = y.map(sigmoid);
  else if (kind === "log_probabilities") p = y.map(Math.exp);
  else if (kind === "probabilities") p = y;
  else return null;
  return one ? [1 - p[0], p[0]] : p;
}
