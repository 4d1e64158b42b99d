// Paints bars on a canvas as the waterfall's style sheet draws them, each state in its own pattern.
import type { State } from '../core/wire';
import type { Bar } from './bars';
import type { Run } from './flame';
import type { Inks } from './ink';

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

const RADIUS = 3;
const LEAST_PX = 1;
const DIAMOND_PX = 5;
const TEXT_PX = 34;
const TEXT_PAD = 5;

/** A canvas as large as its box, in the device's pixels; its context is scaled to those of the page. */
export function sized(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | null {
  const ratio = devicePixelRatio;
  const w = Math.max(1, Math.round(width * ratio));
  const h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const context = canvas.getContext('2d');
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}

/** One run of a lane: its wait as a thin line, its work in the pattern of its state, its decision. */
export function paintRun(c: Context, run: Run, inks: Inks, y: number, height: number, width: number): void {
  const { marks, state } = run;
  if (marks === null) {
    const w = Math.max(LEAST_PX, run.right - run.left);
    c.fillStyle = inks.edge[state];
    c.fillRect(run.left, y, w, height);
    return;
  }
  if (marks.wait !== null) {
    const x = marks.wait.left * width;
    c.fillStyle = inks.edge.PLANNED;
    c.fillRect(x, y + height / 2 - 1, marks.wait.width * width, 2);
    if (!marks.wait.cutLeft) c.fillRect(x, y + height / 2 - 4, 1, 8);
  }
  if (marks.bar !== null) {
    const { left, width: share, cutRight } = marks.bar;
    const box = { x: left * width, y, w: Math.max(LEAST_PX, share * width), h: height };
    paintBar(c, state, box, inks, marks.faded, cutRight);
  }
  if (marks.diamond !== null) {
    const open = state === 'IN_PROGRESS';
    paintDiamond(c, marks.diamond * width, y + height / 2, inks, open);
  }
}

export function paintBar(
  c: Context,
  state: State,
  box: Box,
  inks: Inks,
  faded: number | null = null,
  cutRight = false,
): void {
  const { x, y, w, h } = box;
  c.save();
  c.beginPath();
  c.roundRect(x, y, w, h, Math.min(RADIUS, w / 2));
  if (state === 'PLANNED') {
    c.setLineDash([4, 3]);
    c.strokeStyle = inks.full.PLANNED;
    c.beginPath();
    c.roundRect(x + 0.5, y + 0.5, Math.max(1, w - 1), h - 1, Math.min(RADIUS, w / 2));
    c.stroke();
    c.restore();
    return;
  }
  c.clip();
  if (state === 'LOST') {
    lost(c, box, inks, faded ?? 0);
    c.restore();
    return;
  }
  if (state === 'CANCELLED') {
    const alpha = c.globalAlpha;
    c.globalAlpha = alpha * 0.3;
    c.fillStyle = inks.body.CANCELLED;
    c.fillRect(x, y, w, h);
    c.globalAlpha = alpha;
    c.fillStyle = inks.full.CANCELLED;
    c.fillRect(x + 3, y + Math.floor(h / 2), Math.max(0, w - 6), 1);
  } else {
    c.fillStyle = inks.body[state];
    c.fillRect(x, y, w, h);
  }
  if (state === 'FAILED') hatch(c, box, inks.edge.FAILED);
  c.strokeStyle = inks.edge[state];
  c.beginPath();
  c.roundRect(x + 0.5, y + 0.5, Math.max(0, w - 1), h - 1, Math.min(RADIUS, w / 2));
  c.stroke();
  if (state === 'IN_PROGRESS' && !cutRight) {
    const bright = Math.min(w, 24);
    const gradient = c.createLinearGradient(x + w - bright, 0, x + w, 0);
    gradient.addColorStop(0, inks.body.IN_PROGRESS);
    gradient.addColorStop(1, inks.full.IN_PROGRESS);
    c.fillStyle = gradient;
    c.fillRect(x + w - bright, y, bright, h);
    c.fillStyle = inks.tip;
    c.fillRect(x + w - 3, y, 3, h);
  }
  c.restore();
}

function hatch(c: Context, { x, y, w, h }: Box, color: string): void {
  c.strokeStyle = color;
  c.lineWidth = 3;
  c.beginPath();
  // The stripes stand still on the page, whatever part of the bar is in sight.
  for (let at = Math.floor((x - h) / 8) * 8; at < x + w; at += 8) {
    c.moveTo(at, y + h);
    c.lineTo(at + h, y);
  }
  c.stroke();
  c.lineWidth = 1;
}

/** Solid up to the last sign of life, then dots that fade. */
function lost(c: Context, { x, y, w, h }: Box, inks: Inks, faded: number): void {
  const solid = w * Math.min(faded, 0.7);
  const gradient = c.createLinearGradient(x + solid, 0, x + w, 0);
  gradient.addColorStop(0, inks.body.LOST);
  gradient.addColorStop(1, 'transparent');
  c.fillStyle = inks.body.LOST;
  c.fillRect(x, y, solid, h);
  c.fillStyle = gradient;
  c.fillRect(x + solid, y, w - solid, h);
  c.fillStyle = inks.edge.LOST;
  for (let at = 0; at < w; at += 7) c.fillRect(x + at, y, 3, h);
}

function paintDiamond(c: Context, x: number, y: number, inks: Inks, open: boolean): void {
  const path = (size: number) => {
    c.beginPath();
    c.moveTo(x, y - size);
    c.lineTo(x + size, y);
    c.lineTo(x, y + size);
    c.lineTo(x - size, y);
    c.closePath();
  };
  path(DIAMOND_PX + 3);
  c.fillStyle = inks.accent;
  c.fill();
  path(DIAMOND_PX + 1.5);
  c.fillStyle = inks.solid;
  c.fill();
  path(DIAMOND_PX);
  c.fillStyle = open ? inks.solid : inks.ink;
  c.fill();
  if (!open) return;
  c.strokeStyle = inks.ink;
  c.lineWidth = 2;
  c.stroke();
  c.lineWidth = 1;
}

/** The name in its bar, where there is room; on a pattern it has a ground of its own. */
export function paintName(
  c: Context,
  run: Run,
  inks: Inks,
  y: number,
  height: number,
  width: number,
  quiet = false,
): void {
  const bar = run.marks?.bar ?? null;
  const a = run.node.a;
  if (bar === null || a === null) return;
  const x = bar.left * width;
  const bright = a.state === 'IN_PROGRESS' && !bar.cutRight ? 26 : 0;
  const room = bar.width * width - bright;
  if (room < TEXT_PX) return;
  c.save();
  c.beginPath();
  c.rect(x + 1, y, room - 2, height);
  c.clip();
  const plain = a.state === 'COMPLETED' || a.state === 'IN_PROGRESS' || a.state === 'PLANNED';
  if (!plain) {
    c.fillStyle = inks.solid;
    c.fillRect(x + 2, y + 2, Math.min(room - 4, c.measureText(a.name).width + 2 * TEXT_PAD - 3), height - 4);
  }
  c.fillStyle = quiet ? inks.quiet : inks.ink;
  c.fillText(a.name.slice(0, 200), x + TEXT_PAD, y + height / 2 + 0.5);
  c.restore();
}

/** A part of the critical path, along the foot of a bar; dotted where it stands in the queue. */
export function paintStrip(
  c: Context,
  strip: Bar & { wait: boolean },
  inks: Inks,
  y: number,
  width: number,
): void {
  const x = strip.left * width;
  const w = Math.max(2, strip.width * width);
  c.fillStyle = inks.accent;
  if (!strip.wait) c.fillRect(x, y, w, 3);
  else for (let at = 0; at < w; at += 6) c.fillRect(x + at, y, Math.min(3, w - at), 3);
}

export function paintOutline(
  c: Context,
  run: Run,
  inks: Inks,
  y: number,
  height: number,
  width: number,
): void {
  const left = Math.max(0, run.left);
  const w = Math.max(4, Math.min(width, run.right) - left);
  c.strokeStyle = inks.accent;
  c.lineWidth = 2;
  c.beginPath();
  c.roundRect(left - 0.5, y - 0.5, w + 1, height + 1, RADIUS + 1);
  c.stroke();
  c.lineWidth = 1;
}
