// All of a trace in a strip. What has ended is painted once, into a bitmap; only what is open is drawn anew.
import { begins, ends, extent } from '../core/times';
import type { Node } from '../core/tree';
import { isFinal, type State } from '../core/wire';
import { worse } from './flame';
import type { Inks } from './ink';
import type { Lanes } from './icicle';
import { place, type Range } from './scale';

export interface Block {
  left: number;
  right: number;
  state: State;
}

/** The finished ones of a lane in whole pixels. Neighbours that touch are one, failures apart from the rest. */
export function blocks(nodes: readonly Node[], range: Range, width: number): Block[] {
  const out: Block[] = [];
  const scale = width / (range.to - range.from);
  let well: Block | undefined;
  let failed: Block | undefined;
  for (const { a } of nodes) {
    if (a === null || !isFinal(a.state)) continue;
    const left = Math.floor(((a.startedAt ?? a.endedAt ?? begins(a)) - range.from) * scale);
    const right = Math.max(left + 1, Math.round((ends(a, 0) - range.from) * scale));
    const last = a.state === 'FAILED' ? failed : well;
    const fine = right - left <= 1 && last !== undefined && last.right - last.left <= 1;
    if (last !== undefined && left <= last.right && (last.state === a.state || fine)) {
      last.right = Math.max(last.right, right);
      last.state = worse(last.state, a.state);
      continue;
    }
    const block = { left, right, state: a.state };
    out.push(block);
    if (a.state === 'FAILED') failed = block;
    else well = block;
  }
  return out;
}

/** A strip has room for so many lanes, or the next number of them: so it is not laid out at each new one. */
const ROWS = [6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 4096, 16384];
/** Between lanes, where they are high enough to have it. */
const GAP_FROM_PX = 3;

export class Overview {
  private readonly bitmap = document.createElement('canvas');
  private key = '';
  private drawn = 0;

  paint(
    c: CanvasRenderingContext2D,
    lanes: Lanes,
    open: Iterable<Node>,
    { range, now, width, height, inks }: View,
  ): void {
    const ratio = devicePixelRatio;
    const rows = ROWS.find((n) => n >= lanes.list.length) ?? lanes.list.length;
    const pitch = height / rows;
    const bar = Math.max(1, pitch - (pitch >= GAP_FROM_PX ? 1 : 0));
    const draw = (on: CanvasRenderingContext2D, lane: number, list: Block[]) => {
      for (const pass of [false, true]) {
        for (const block of list) {
          if ((block.state === 'FAILED') !== pass) continue;
          on.fillStyle = inks.edge[block.state];
          on.fillRect(block.left, lane * pitch, block.right - block.left, bar);
        }
      }
    };

    const key = `${lanes.layout} ${rows} ${range.from} ${range.to} ${width} ${height} ${ratio} ${inks.ink}`;
    const fresh = key !== this.key;
    this.key = key;
    if (fresh) {
      this.bitmap.width = Math.max(1, Math.round(width * ratio));
      this.bitmap.height = Math.max(1, Math.round(height * ratio));
    }
    const still = this.bitmap.getContext('2d');
    if (still === null) return;
    if (fresh) {
      still.setTransform(ratio, 0, 0, ratio, 0, 0);
      lanes.list.forEach((lane, at) => draw(still, at, blocks(lane, range, width)));
    } else {
      for (let i = this.drawn; i < lanes.finished.length; i++) {
        const node = lanes.finished[i];
        if (node !== undefined) draw(still, lanes.laneOf(node) ?? 0, blocks([node], range, width));
      }
    }
    this.drawn = lanes.finished.length;
    c.drawImage(this.bitmap, 0, 0, width, height);

    for (const node of open) {
      const lane = lanes.laneOf(node);
      if (node.a === null || lane === null) continue;
      const { work, to } = extent(node.a, now);
      const left = place(range, work) * width;
      const right = place(range, node.a.state === 'PLANNED' ? to + (node.a.usualMs ?? 0) : to) * width;
      const w = Math.max(1, right - left);
      if (node.a.state === 'PLANNED') {
        c.fillStyle = inks.full.PLANNED;
        for (let x = 0; x < Math.min(w, width); x += 4) c.fillRect(left + x, lane * pitch, 2, bar);
      } else {
        c.fillStyle = inks.edge.IN_PROGRESS;
        c.fillRect(left, lane * pitch, w, bar);
      }
    }
  }
}

export interface View {
  range: Range;
  now: number;
  width: number;
  height: number;
  inks: Inks;
}
