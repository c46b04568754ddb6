// From strokes and pictures to what a network takes.  Ink is 0 where the ground is and 1 where it is
// not; a plane is {width, height, data} of numbers from 0 to 1.
"use strict";

// Ink of strokes, lists of [x, y] in pixels, by a pen of that width.
function painted(strokes, width, height, pen) {
  const data = new Float32Array(width * height);
  for (const stroke of strokes)
    for (let i = 0; i < stroke.length; i++) {
      const [ax, ay] = stroke[Math.max(i - 1, 0)], [bx, by] = stroke[i];
      const reach = pen / 2 + 1, long = (bx - ax) ** 2 + (by - ay) ** 2;
      const low = Math.max(0, Math.floor(Math.min(ay, by) - reach));
      const high = Math.min(height - 1, Math.ceil(Math.max(ay, by) + reach));
      const left = Math.max(0, Math.floor(Math.min(ax, bx) - reach));
      const right = Math.min(width - 1, Math.ceil(Math.max(ax, bx) + reach));
      for (let h = low; h <= high; h++)
        for (let w = left; w <= right; w++) {
          const x = w + 0.5, y = h + 0.5;
          const along = long ? ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / long : 0;
          const t = Math.min(Math.max(along, 0), 1);
          const far = Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay));
          const ink = Math.min(Math.max(pen / 2 + 0.5 - far, 0), 1);
          data[h * width + w] = Math.max(data[h * width + w], ink);
        }
    }
  return { width, height, data };
}

// Where the ink lies in the mean, [x, y] in pixels.
function centre({ width, height, data }) {
  let x = 0, y = 0, sum = 0;
  data.forEach((ink, i) => {
    x += ink * ((i % width) + 0.5);
    y += ink * (Math.floor(i / width) + 0.5);
    sum += ink;
  });
  return sum ? [x / sum, y / sum] : [width / 2, height / 2];
}

// By how much things from `low` to `high` may move to bring `mass` to the middle and stay inside.
function shift(mass, low, high, size) {
  return high - low > size
    ? (size - high - low) / 2
    : Math.min(Math.max(size / 2 - mass, -low), size - high);
}

// Ink of strokes drawn on a field of the side 1 (the longer one).  With a `box`, the longer side of
// the drawing gets so many pixels, and its centre of mass comes to the middle.
function inkOf(strokes, { width, height, box, pen }) {
  const side = Math.max(width, height), all = strokes.flat();
  const scaled = (k, dx, dy) => strokes.map((s) => s.map(([x, y]) => [x * k + dx, y * k + dy]));
  if (!box || !all.length) return painted(scaled(side, 0, 0), width, height, pen);
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const left = Math.min(...xs), top = Math.min(...ys);
  const wide = Math.max(...xs) - left, tall = Math.max(...ys) - top;
  // a dot stays one
  const k = Math.min((box - pen) / Math.max(wide, tall, 1e-9), 8 * side);
  const dx = width / 2 - k * (left + wide / 2), dy = height / 2 - k * (top + tall / 2);
  const [x, y] = centre(painted(scaled(k, dx, dy), width, height, pen));
  const room = (middle, extent) => [middle - (k * extent + pen) / 2, middle + (k * extent + pen) / 2];
  const moveX = shift(x, ...room(width / 2, wide), width);
  const moveY = shift(y, ...room(height / 2, tall), height);
  return painted(scaled(k, dx + moveX, dy + moveY), width, height, pen);
}

// A line of numbers of another length: the mean weighted by a triangle, wider where it shrinks.
function weightsFor(from, to) {
  const scale = from / to, reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const middle = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(middle - reach + 0.5));
    const last = Math.min(from, Math.floor(middle + reach + 0.5));
    const weights = [];
    for (let j = first; j < last; j++)
      weights.push(Math.max(0, 1 - Math.abs((j + 0.5 - middle) / reach)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

// A plane of another size, bilinear, each pass rounded to 255 steps.
function resized({ width, height, data }, toWidth, toHeight) {
  const pass = (from, rows, size, wanted, at, to, out) =>
    weightsFor(size, wanted).forEach(({ first, weights }, i) => {
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        weights.forEach((w, j) => { sum += w * from[at(row, first + j)]; });
        out[to(row, i)] = Math.round(255 * sum) / 255;
      }
    });
  const between = new Float64Array(height * toWidth), out = new Float32Array(toHeight * toWidth);
  pass(data, height, width, toWidth, (r, j) => r * width + j, (r, i) => r * toWidth + i, between);
  pass(between, toWidth, height, toHeight, (c, j) => j * toWidth + c, (c, i) => i * toWidth + c, out);
  return { width: toWidth, height: toHeight, data: out };
}

// The planes of a picture's pixels (RGBA bytes) laid over white: one grey, or red, green and blue.
function planesOf(pixels, width, height, channels) {
  const planes = Array.from({ length: channels }, () => new Float32Array(width * height));
  for (let i = 0; i < width * height; i++) {
    const alpha = pixels[4 * i + 3];
    const rgb = [0, 1, 2].map((c) => Math.floor((pixels[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255));
    if (channels === 3) rgb.forEach((v, c) => { planes[c][i] = v / 255; });
    else planes[0][i] = Math.floor((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) / 65536) / 255;
  }
  return planes.map((data) => ({ width, height, data }));
}

// Ink of a grey picture of something on a plain ground, cut out, scaled and put in the middle.
function inkIn({ width, height, data }, { width: W, height: H, box, ground }) {
  const edge = data.filter((_, i) => {
    const x = i % width, y = Math.floor(i / width);
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  const light = edge.slice().sort()[edge.length >> 1] > 0.5;
  let ink = data.map((v) => (light ? 1 - v : v));
  const most = ink.reduce((a, b) => Math.max(a, b), 0);
  let [left, top, right, bottom] = [width, height, 0, 0];
  ink.forEach((v, i) => {
    if (v <= most / 2) return;
    const x = i % width, y = Math.floor(i / width);
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
  });
  const out = { width: W, height: H, data: new Float32Array(W * H) };
  if (left >= right) return out;
  const wide = right - left, tall = bottom - top, k = box / Math.max(wide, tall);
  const part = new Float32Array(wide * tall);
  for (let y = 0; y < tall; y++)
    for (let x = 0; x < wide; x++) part[y * wide + x] = ink[(y + top) * width + x + left] / most;
  const small = resized({ width: wide, height: tall, data: part },
    Math.min(W, Math.max(1, Math.round(wide * k))), Math.min(H, Math.max(1, Math.round(tall * k))));
  const [x, y] = centre(small);
  const dx = Math.round(shift(x, 0, small.width, W)), dy = Math.round(shift(y, 0, small.height, H));
  small.data.forEach((v, i) => {
    out.data[(Math.floor(i / small.width) + dy) * W + (i % small.width) + dx] = v;
  });
  return out;
}

// The numbers that a network takes, for planes from 0 (black) to 1 (white).
function numbersOf(planes, { low, high }) {
  const pixels = planes[0].data.length, out = new Float32Array(planes.length * pixels);
  planes.forEach(({ data }, c) => data.forEach((v, i) => { out[c * pixels + i] = low + v * (high - low); }));
  return out;
}

// Ink as a plane, on a black ground (0) or a white one (1).
function onGround({ width, height, data }, ground) {
  return { width, height, data: data.map((ink) => Math.abs(ground - ink)) };
}
