// The time that the views of one trace show: they share one range, one axis and one "now".
import { app, f } from '../app.svelte';
import type { Move } from '../core/keys';
import { extent } from '../core/times';
import {
  around,
  clamp,
  overlap,
  pan,
  place,
  tickExtent,
  ticks,
  whole,
  zoom,
  type Range,
} from '../draw/scale';
import type { Source } from './source.svelte';

/** A character of the axis is no wider. */
const CHARACTER_PX = 7;
/** How near to the right end, in pixels, the text of now stands to the left of it. */
export const PILL_EDGE_PX = 34;
const DRAG_PX = 4;

export class TimeView {
  /** Null while it shows all and follows now. */
  range = $state.raw<Range | null>(null);
  /** Pixels that the axis is wide. */
  width = $state(0);
  /** The activity to bring into sight; each object is one wish. */
  wanted = $state.raw<{ id: string } | null>(null);
  /** The activity that the keyboard is on: what "fit" fits. */
  current: string | null = null;

  readonly bounds = $derived.by(() => {
    void app.beat;
    const { now } = app;
    const { startedAt, lastAt, open } = this.source.summary();
    const from = startedAt ?? now;
    return { from, live: open > 0, all: whole(from, lastAt ?? from, open > 0 ? now : null, this.width) };
  });
  readonly shown = $derived(this.range ?? this.bounds.all);
  readonly axis = $derived(ticks(this.shown, this.bounds.from, this.width));
  /** Where now stands on the axis, 0 to 1, if the trace is live and it is in sight. */
  readonly nowAt = $derived.by(() => {
    if (!this.bounds.live) return null;
    const x = place(this.shown, app.now);
    return x >= 0 && x <= 1 ? x : null;
  });
  /** The time that the trace has run, and the marks whose text it does not cover. */
  readonly ran = $derived(this.nowAt === null ? '' : f.duration(app.now - this.bounds.from));
  readonly clear = $derived.by(() => {
    const { nowAt, axis, width } = this;
    if (nowAt === null) return axis.ticks;
    const px = this.ran.length * CHARACTER_PX + 16;
    const left = nowAt * width - px * ((1 - nowAt) * width < PILL_EDGE_PX ? 0.8 : 0.5);
    const pill = { left: left - 4, right: left + px + 4 };
    return axis.ticks.filter((mark) => {
      const text = f.tick(mark.ms, axis.step).length * CHARACTER_PX + 6;
      return !overlap(tickExtent(mark.x, width, text), pill);
    });
  });

  constructor(readonly source: Source) {}

  show(range: Range): void {
    this.range = clamp(range, this.bounds.all);
  }

  /** Brings an activity into sight, in the rows and in time. */
  seek(id: string): void {
    this.wanted = { id };
    const a = this.source.tree.nodes.get(id)?.a ?? null;
    if (this.range === null || a === null) return;
    const { work, to } = extent(a, app.now);
    const span = this.range.to - this.range.from;
    if (to < this.range.from || work > this.range.to)
      this.show({ from: work - span / 4, to: work + span * 0.75 });
  }

  /** Shows one activity with some air around it; all, if its times are not known. */
  fit(id: string | null): void {
    const a = id === null ? null : (this.source.tree.nodes.get(id)?.a ?? null);
    if (a === null) {
      this.range = null;
      return;
    }
    const { from, to } = extent(a, app.now);
    this.show(around(from, to));
  }

  move(what: Move): void {
    const mid = this.nowAt !== null && this.range === null ? this.nowAt : 0.5;
    switch (what) {
      case 'in':
        return this.show(zoom(this.shown, 0.6, mid));
      case 'out':
        return this.show(zoom(this.shown, 1 / 0.6, mid));
      case 'left':
        return this.show(pan(this.shown, -0.2));
      case 'right':
        return this.show(pan(this.shown, 0.2));
      case 'reset':
        this.range = null;
        return;
      case 'fit':
        return this.fit(this.current ?? (app.route.sel === null ? null : this.source.idOf(app.route.sel)));
    }
  }

  /** With Ctrl the wheel zooms at the pointer, with Shift, or sideways, it moves. `right` is the axis's end. */
  wheel(event: WheelEvent, right: number): void {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.shiftKey && !sideways) return;
    event.preventDefault();
    const by = event.deltaY === 0 || sideways ? event.deltaX : event.deltaY;
    if (event.ctrlKey) {
      const at = Math.min(1, Math.max(0, 1 - (right - event.clientX) / Math.max(1, this.width)));
      this.show(zoom(this.shown, by > 0 ? 1.25 : 0.8, at));
    } else {
      this.show(pan(this.shown, by > 0 ? 0.1 : -0.1));
    }
  }

  /**
   * Moves what is shown with the pointer, from a press on; a press that does not move stays a click. It
   * answers whether the time is being moved, for the reader of the click that follows.
   */
  drag(event: PointerEvent): () => boolean {
    const { currentTarget: target, pointerId, clientX } = event;
    let moved = false;
    if (event.button !== 0 || !(target instanceof HTMLElement)) return () => moved;
    const from = this.shown;
    const stop = new AbortController();
    const { signal } = stop;
    const move = (e: PointerEvent) => {
      if (e.pointerId !== pointerId) return;
      const by = e.clientX - clientX;
      if (!moved && Math.abs(by) < DRAG_PX) return;
      if (!moved) target.setPointerCapture(pointerId);
      moved = true;
      this.show(pan(from, -by / Math.max(1, this.width)));
    };
    target.addEventListener('pointermove', move, { signal });
    target.addEventListener('pointerup', () => stop.abort(), { signal });
    target.addEventListener('pointercancel', () => stop.abort(), { signal });
    return () => moved;
  }
}
