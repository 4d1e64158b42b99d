// The past as the server plays it: one WebSocket of /activity/replay, told what to do, and what it tells.
//
//   opening ──▶ snapshot of the moment ──▶ changes, and now and then its clock ──▶ ended
//      ▲─────────────── seek ──────────────────┘
import { isFields, message, time, type Change } from './wire';

export interface PlaySocket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface PlayIo {
  open(params: URLSearchParams): PlaySocket;
  /** Monotonic milliseconds. */
  now(): number;
}

export interface Audience {
  /** A moment begins: what was active at it. */
  began(rows: Change[]): void;
  change(change: Change): void;
  /** Nothing more comes: it is played, retention has overtaken it, or the connection broke. */
  ended(why: 'end' | 'forgotten' | 'broken'): void;
}

/** The server tells its clock twice a second: nothing is guessed for much longer. */
const GUESS_MS = 750;

const stamp = (ms: number) => new Date(ms).toISOString();

export class Playback {
  speed: number;
  paused = false;
  private socket: PlaySocket | null;
  /** What was said before the connection was there. */
  private unsaid: string[] | null = [];
  /** Moments asked for whose snapshot has not come: what is told until then is of another one. */
  private awaited = 1;
  private rows: Change[] = [];
  private base: number;
  private basedAt: number | null = null;
  private shown: number;
  private logId = '';

  constructor(
    private readonly io: PlayIo,
    private readonly audience: Audience,
    from: number,
    speed: number,
  ) {
    this.base = this.shown = from;
    this.speed = speed;
    const params = new URLSearchParams({ from: stamp(from), speed: String(speed), batch: '1' });
    const socket = io.open(params);
    this.socket = socket;
    socket.onopen = () => {
      for (const text of this.unsaid ?? []) socket.send(text);
      this.unsaid = null;
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = () => this.end('broken');
  }

  /** The moment that has been told up to. */
  at(): number {
    if (this.basedAt !== null && this.awaited === 0) {
      const passed = this.paused ? 0 : Math.min(this.io.now() - this.basedAt, GUESS_MS);
      this.shown = Math.max(this.shown, this.base + passed * this.speed);
    }
    return this.shown;
  }

  pause(): void {
    if (this.paused) return;
    this.rebase();
    this.paused = true;
    this.say({ action: 'pause' });
  }

  resume(): void {
    if (!this.paused) return;
    this.rebase();
    this.paused = false;
    this.say({ action: 'resume' });
  }

  pace(speed: number): void {
    this.rebase();
    this.speed = speed;
    this.say({ action: 'speed', speed });
  }

  seek(at: number): void {
    this.base = this.shown = at;
    this.basedAt = null;
    this.awaited++;
    this.say({ action: 'seek', time: stamp(at) });
  }

  stop(): void {
    const { socket } = this;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private rebase(): void {
    this.base = this.at();
    if (this.basedAt !== null) this.basedAt = this.io.now();
  }

  private say(what: Record<string, unknown>): void {
    const text = JSON.stringify(what);
    if (this.unsaid !== null) this.unsaid.push(text);
    else this.socket?.send(text);
  }

  private end(why: 'end' | 'forgotten' | 'broken'): void {
    if (this.socket === null) return;
    this.stop();
    this.audience.ended(why);
  }

  private take(data: unknown): void {
    let parsed: unknown;
    try {
      parsed = typeof data === 'string' ? JSON.parse(data) : null;
    } catch {
      parsed = null;
    }
    for (const item of Array.isArray(parsed) ? parsed : [parsed]) {
      if (this.socket === null) return;
      this.hear(item);
    }
  }

  private hear(item: unknown): void {
    if (isFields(item)) {
      switch (item.event) {
        case 'clock': {
          const at = time(item.time);
          if (at === null || this.awaited > 0) return;
          this.base = at;
          this.basedAt = this.io.now();
          return;
        }
        case 'end':
          return this.end(item.reason === 'forgotten' ? 'forgotten' : 'end');
        case 'error': // it does not go where it was sent
          return this.end('broken');
      }
    }
    const told = message(item);
    switch (told?.kind) {
      case 'hello':
        this.logId = told.logId;
        return;
      case 'snapshot_end': {
        const { rows } = this;
        this.rows = [];
        if (--this.awaited === 0) this.audience.began(rows);
        return;
      }
      case 'change':
        if (told.logId !== this.logId) return;
        if (told.snapshot) this.rows.push(told);
        else if (this.awaited === 0) this.audience.change(told);
    }
  }
}
