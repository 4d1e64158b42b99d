// What stands beyond the server: where finished spans go on to, and the processes that tell it.
import { count, isFields, number, text } from './wire';

/** An endpoint that the server sends finished spans on to. */
export interface Target {
  name: string;
  away: boolean;
  lagMs: number;
  /** Events that may hold spans for it. */
  lag: number;
  sent: number;
  rejected: number;
  dropped: number;
}

/** A process that holds a lease, or held one. */
export interface Process {
  service: string | null;
  instance: string | null;
  lease: string | null;
  /** What added to its times gives the server's; null when it is not known. */
  offsetMs: number | null;
}

const TARGETS_MAX = 20;
const PROCESSES_MAX = 100;

export function targets(value: unknown): Target[] {
  if (!Array.isArray(value)) return [];
  return value
    .slice(0, TARGETS_MAX)
    .filter(isFields)
    .map((t) => ({
      name: text(t.target, 300) ?? '',
      away: t.state !== 'ok',
      lagMs: count(t.lag_seconds) * 1000,
      lag: count(t.lag_spans),
      sent: count(t.sent),
      rejected: count(t.rejected),
      dropped: count(t.dropped),
    }));
}

function processes(value: unknown): Process[] {
  if (!Array.isArray(value)) return [];
  return value
    .slice(0, PROCESSES_MAX)
    .filter(isFields)
    .map((p) => ({
      service: text(p.service, 300),
      instance: text(p.instance, 300),
      lease: text(p.lease, 20),
      offsetMs: number(p.clock_offset_ms),
    }));
}

/** A clock that is off by less may as well be the way of its messages. */
export const CLOCK_OFF_MS = 2_000;

/** The live processes whose clocks are off by much, the farthest first. */
export function clocksOff(value: unknown): (Process & { offsetMs: number })[] {
  const off = (p: Process): p is Process & { offsetMs: number } =>
    p.lease === 'live' && p.offsetMs !== null && Math.abs(p.offsetMs) >= CLOCK_OFF_MS;
  return processes(value)
    .filter(off)
    .sort((a, b) => Math.abs(b.offsetMs) - Math.abs(a.offsetMs));
}
