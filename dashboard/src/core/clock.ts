// The server's time on the page's monotonic clock, so that what is in flight grows evenly, whatever either
// wall clock does.
export class Clock {
  private offset: number | null = null;

  constructor(private readonly monotonic: () => number) {}

  /** Takes a server's time that was true `age` milliseconds ago. Small differences are jitter, not drift. */
  set(serverNow: number, age = 0): void {
    const offset = serverNow + age - this.monotonic();
    if (this.offset === null || Math.abs(offset - this.offset) > 200) this.offset = offset;
  }

  /** The server's time, or null before it was told. */
  now(): number | null {
    return this.offset === null ? null : this.monotonic() + this.offset;
  }
}

/** Events a second over the last few seconds, from sequences: merged updates count as what they were. */
export class Rate {
  private samples: { at: number; seq: number }[] = [];

  constructor(private readonly span = 3_000) {}

  reset(): void {
    this.samples = [];
  }

  add(at: number, seq: number): void {
    this.samples.push({ at, seq });
    while (this.samples.length > 2 && at - (this.samples[1]?.at ?? at) >= this.span) this.samples.shift();
  }

  /** Null before there is a second sample. */
  perSecond(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.at <= first.at) return null;
    return ((last.seq - first.seq) * 1000) / (last.at - first.at);
  }
}
