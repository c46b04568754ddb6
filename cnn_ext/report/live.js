// The live panel: strokes, pictures and examples go through the network, and what comes of them is shown.
"use strict";

const $ = (id) => document.getElementById(id);

function start() {
  const network = assemble(JSON.parse($("network").textContent), bytesOf($("weights").textContent));
  const { look, classes } = network, { width: W, height: H, channels: C } = look;
  const side = Math.max(W, H), pad = $("pad"), ink = pad.getContext("2d");
  const MOST_MAPS = 64, MOST_BARS = 10, MOST_OPEN = 12;
  const FIELD = 560; // pixels of the pad's longer side
  const state = { strokes: [], pen: [W / side / 2, H / side / 2], down: false, example: -1, input: null };
  let colours = null;

  function bytesOf(text) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes.buffer;
  }

  function element(tag, options = {}, ...children) {
    const made = Object.assign(document.createElement(tag), options);
    made.append(...children);
    return made;
  }

  // ------------------------------------------------------------------------------ pictures

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const rgb = (name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number);
    colours = { above: rgb("--above"), below: rgb("--below") };
  }

  // numbers as colours on a canvas: one above 0, another below, nothing at 0
  function paintSigned(canvas, data, width, height, extreme) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pixels = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const [r, g, b] = data[i] > 0 ? colours.above : colours.below;
      pixels.data.set([r, g, b, (255 * Math.min(Math.abs(data[i] || 0), extreme)) / (extreme || 1)], 4 * i);
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  // what the network gets, as a picture
  function paintInput(canvas, data) {
    Object.assign(canvas, { width: W, height: H });
    const pixels = new ImageData(W, H), all = W * H;
    const byte = (c, i) => (255 * (data[c * all + i] - look.low)) / (look.high - look.low);
    for (let i = 0; i < all; i++)
      for (let k = 0; k < 4; k++) pixels.data[4 * i + k] = k === 3 ? 255 : byte(C === 3 ? k : 0, i);
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function extent(data) {
    let low = Infinity, high = -Infinity;
    for (const v of data) [low, high] = [Math.min(low, v), Math.max(high, v)];
    return [low, high];
  }

  function paintLine(canvas, data) {
    Object.assign(canvas, { width: FIELD, height: FIELD / 2 });
    const [low, high] = extent(data), pen = canvas.getContext("2d");
    pen.strokeStyle = `rgb(${colours.above})`;
    pen.lineWidth = 3;
    pen.beginPath();
    data.forEach((v, i) => pen.lineTo(
      (i * FIELD) / Math.max(data.length - 1, 1),
      6 + ((FIELD / 2 - 12) * (high - v)) / (high - low || 1)));
    pen.stroke();
  }

  function paintPad() {
    if (!state.strokes.length && state.input) {
      look.height > 1 ? paintInput(pad, state.input) : paintLine(pad, state.input);
    } else {
      Object.assign(pad, { width: (FIELD * W) / side, height: (FIELD * H) / side });
      const [ground, pen] = look.ground ? ["#fff", "#000"] : ["#000", "#fff"];
      Object.assign(ink, { fillStyle: ground, strokeStyle: pen, lineWidth: (FIELD * look.pen) / side });
      Object.assign(ink, { lineCap: "round", lineJoin: "round" });
      ink.fillRect(0, 0, pad.width, pad.height);
      for (const stroke of state.strokes) {
        ink.beginPath();
        stroke.forEach(([x, y]) => ink.lineTo(x * FIELD, y * FIELD));
        if (stroke.length === 1) ink.lineTo(stroke[0][0] * FIELD, stroke[0][1] * FIELD);
        ink.stroke();
      }
    }
    if (look.drawable && state.keys && document.activeElement === pad) paintCross();
  }

  // where the pen of the keyboard is; full while it is down
  function paintCross() {
    const k = Math.max(pad.width, pad.height), [x, y] = state.pen.map((v) => v * k);
    ink.lineWidth = Math.max(k / 140, 0.5);
    ink.strokeStyle = "#e69f00";
    ink.fillStyle = "#e69f00";
    ink.beginPath();
    ink.arc(x, y, k / 40, 0, 2 * Math.PI);
    state.down ? ink.fill() : ink.stroke();
  }

  // ------------------------------------------------------------------------------ answers

  const percent = (p) => `${(100 * p).toFixed(1)} %`;
  const text = (v) => (Math.abs(v) < 1e-9 ? "0" : Number(v.toPrecision(3)).toString());

  const bars = Array.from({ length: Math.min(classes.length, MOST_BARS) }, () => {
    const parts = ["name", "track", "value"].map((className) => element("span", { className }));
    parts[1].append(element("i"));
    return $("bars").appendChild(element("li", {}, ...parts));
  });

  function showAnswer(outputs) {
    const p = probabilities(outputs, network.outputs);
    const values = p || Array.from(outputs), best = values.indexOf(Math.max(...values));
    const order = classes.map((_, i) => i);
    if (classes.length > MOST_BARS) order.sort((a, b) => values[b] - values[a]);
    const least = Math.min(...values), most = Math.max(...values);
    bars.forEach((bar, row) => {
      const i = order[row], part = p ? p[i] : (values[i] - least) / (most - least || 1);
      const [name, track, value] = bar.children;
      name.textContent = classes[i];
      name.title = classes[i];
      track.firstChild.style.width = `${100 * part}%`;
      value.textContent = p ? percent(p[i]) : text(values[i]);
      bar.className = i === best ? "best" : "";
    });
    $("answer").replaceChildren(
      element("b", { textContent: classes[best] }),
      element("span", { textContent: p ? percent(p[best]) : "no probabilities: the outputs are plain numbers" }));
    // readers of the screen hear it once the pen rests
    clearTimeout(state.saying);
    state.saying = setTimeout(() => { $("said").textContent = $("answer").innerText; }, 800);
    return { best, values: p };
  }

  // ------------------------------------------------------------------------------ layers

  function kindOf(shape) {
    if (shape.length === 3 && shape[1] * shape[2] > 1 && shape[1] > 1) return "maps";
    return volume(shape.slice(1)) > 1 ? "matrix" : "vector";
  }

  const rows = network.steps.map((step, i) => {
    const { shape } = network.nodes.find((node) => node.output === step.value);
    const kind = kindOf(shape), maps = element("div", { className: `maps ${kind}` });
    const range = element("span", { className: "range" });
    const title = element("h4", {}, element("span", { className: "place", textContent: step.place }),
      element("b", { textContent: step.name }),
      element("span", { className: "shape", textContent: shape.join(" × ") }), range);
    const count = kind === "maps" ? Math.min(shape[0], MOST_MAPS) : 1;
    const canvases = Array.from({ length: count }, () => maps.appendChild(element("canvas")));
    maps.setAttribute("role", "img");
    const what = { maps: `${shape[0]} maps`, matrix: "numbers", vector: `${shape[0]} numbers` }[kind];
    maps.setAttribute("aria-label", `${what} of ${step.place} ${step.name}`);
    const row = element("details", { className: "step" }, element("summary", {}, title));
    row.open = i < MOST_OPEN || i >= network.steps.length - 2;
    row.addEventListener("toggle", () => { if (row.open && live?.values) showLayers(live.values); });
    if (step.about) row.append(element("p", { className: "about", textContent: step.about }));
    if (kind === "maps") maps.style.setProperty("--side", `${Math.min(72, Math.max(36, 2 * shape[2]))}px`);
    row.append(maps);
    if (kind === "maps" && shape[0] > count)
      row.append(element("p", { className: "note", textContent: `The first ${count} of ${shape[0]} maps.` }));
    $("steps").append(row);
    return { ...step, shape, kind, canvases, range, row };
  });

  function showLayers(values) {
    for (const { value, shape, kind, canvases, range, row } of rows) {
      const { data } = values[value];
      const [low, high] = extent(data), extreme = Math.max(Math.abs(low), Math.abs(high));
      range.textContent = `${text(low)} to ${text(high)}`;
      if (!row.open) continue;
      if (kind === "maps") {
        const pixels = shape[1] * shape[2];
        canvases.forEach((canvas, c) =>
          paintSigned(canvas, data.subarray(c * pixels, (c + 1) * pixels), shape[2], shape[1], extreme));
      } else if (kind === "matrix") {
        paintSigned(canvases[0], data, volume(shape.slice(1)), shape[0], extreme);
      } else {
        const across = Math.min(data.length, 50), down = Math.ceil(data.length / across);
        paintSigned(canvases[0], data, across, down, extreme);
        canvases[0].style.setProperty("--count", across);
      }
    }
  }

  // ------------------------------------------------------------------------------ work

  let waiting = false, cost = 0;

  function work() {
    waiting = false;
    const started = performance.now(), values = run(network, state.input);
    Object.assign(live, { input: state.input, values });
    live.answer = showAnswer(values[network.output].data);
    if (look.pictures) paintInput($("seen"), state.input);
    showLayers(values);
    live.runs++;
    cost = performance.now() - started;
  }

  // soon, and once for all that happens until then
  function changed() {
    if (state.strokes.length) {
      const plane = onGround(inkOf(state.strokes, look), look.ground);
      state.input = numbersOf([plane], look);
      $("source").textContent = "Your drawing";
    }
    paintPad();
    if (waiting) return;
    waiting = true;
    setTimeout(() => requestAnimationFrame(work), cost > 30 ? cost : 0);
  }

  function clear() {
    state.strokes = [];
    state.down = false;
    state.input = numbersOf([onGround({ width: W, height: H, data: new Float32Array(W * H) }, look.ground)], look);
    $("source").textContent = "An empty field";
    changed();
  }

  function undo() {
    state.strokes.pop();
    state.down = false;
    state.strokes.length ? changed() : clear();
  }

  function next() {
    state.strokes = [];
    state.down = false;
    state.example = (state.example + 1) % network.examples.length;
    const { values: [, start, shape], true: name, number } = network.examples[state.example];
    state.input = new Float32Array(network.buffer, start, volume(shape));
    $("source").textContent = `Test picture ${number}, whose class is ${name}`;
    changed();
  }

  async function take(file) {
    let picture;
    try {
      const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
      picture = await createImageBitmap(file, options);
    } catch {
      $("source").textContent = `${file.name}: not a picture that this browser can read`;
      return;
    }
    const { width, height } = picture, canvas = element("canvas", { width, height });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(picture, 0, 0);
    let planes = planesOf(pen.getImageData(0, 0, width, height).data, width, height, C);
    if (width !== W || height !== H)
      planes = look.box
        ? [onGround(inkIn(planes[0], look), look.ground)]
        : planes.map((plane) => resized(plane, W, H));
    state.strokes = [];
    state.input = numbersOf(planes, look);
    $("source").textContent = file.name;
    changed();
  }

  // ------------------------------------------------------------------------------ events

  function pointOf(event) {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * (W / side),
      ((event.clientY - box.top) / box.height) * (H / side)];
  }

  if (look.drawable) {
    pad.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      pad.focus({ preventScroll: true });
      pad.setPointerCapture(event.pointerId);
      state.keys = state.down = false;
      state.strokes.push([pointOf(event)]);
      changed();
    });
    pad.addEventListener("pointermove", (event) => {
      if (!pad.hasPointerCapture(event.pointerId)) return;
      const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      state.strokes.at(-1)?.push(...(all.length ? all : [event]).map(pointOf));
      changed();
    });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    pad.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      state.keys = true;
      if (event.key in moves) {
        const limits = [W / side, H / side], step = event.shiftKey ? 0.1 : 0.03;
        state.pen = state.pen.map((v, i) => Math.min(Math.max(v + step * moves[event.key][i], 0), limits[i]));
        if (state.down) state.strokes.at(-1).push(state.pen);
      } else if (event.key === " ") {
        state.down = !state.down;
        if (state.down) state.strokes.push([state.pen]);
      } else if (event.key === "Backspace") undo();
      else if (event.key === "Delete") clear();
      else return;
      event.preventDefault();
      state.down || event.key === " " ? changed() : paintPad();
    });
    for (const kind of ["focus", "blur"]) pad.addEventListener(kind, () => {
      if (kind === "focus" && pad.matches(":focus-visible")) state.keys = true;
      if (kind === "blur") state.down = false;
      paintPad();
    });
    $("clear").addEventListener("click", clear);
    $("undo").addEventListener("click", undo);
  }
  if (look.pictures) {
    $("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
    const over = (event, there) => {
      event.preventDefault(); // or the browser leaves the page for the picture
      pad.parentElement.classList.toggle("over", there);
    };
    document.addEventListener("dragover", (event) => over(event, true));
    document.addEventListener("dragleave", (event) => over(event, false));
    document.addEventListener("drop", (event) => {
      over(event, false);
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
  $("next").addEventListener("click", next);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); changed(); });

  const live = { network, runs: 0, input: null, answer: null };
  readColours();
  next();
  return live;
}

let live = null;
try {
  live = start();
} catch (error) {
  $("answer").textContent = `The network cannot work in this browser: ${error.message}.`;
  throw error;
}
