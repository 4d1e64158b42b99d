// The stream's life: connect, resume where it broke off, tell why it can't.
//
//   connecting ──▶ live ──▶ waiting ──▶ connecting …
//        └──▶ signin, refused: until the reader acts
import { frame, type Frame } from './wire';

export type Link =
  | { phase: 'connecting' }
  | { phase: 'live' }
  | { phase: 'waiting'; attempt: number; retryAt: number }
  | { phase: 'signin' }
  | { phase: 'refused'; status: number };

export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  close(): void;
}

export interface Io {
  /** Opens the stream with these parameters. */
  open(params: URLSearchParams): Socket;
  /** The status of a plain request to the API, or 0 when there is no answer: a WebSocket hides it. */
  probe(): Promise<number>;
  /** Monotonic milliseconds. */
  now(): number;
  /** 0 to 1. */
  random(): number;
}

export interface Sink {
  link(link: Link): void;
  /** Called before the first frame of a connection; `resumed` is false when it starts with a snapshot. */
  opened(resumed: boolean): void;
  frame(frame: Frame): void;
}

const FIRST_RETRY = 250;
const LAST_RETRY = 5_000;

export class Connection {
  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private attempt = 0;
  private position: { logId: string; seq: number } | null = null;
  private link: Link = { phase: 'connecting' };
  private stopped = true;

  constructor(
    private readonly io: Io,
    private readonly sink: Sink,
  ) {}

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    this.drop();
  }

  /** Where a broken stream is to go on; null asks for a snapshot. */
  at(position: { logId: string; seq: number } | null): void {
    this.position = position;
  }

  /** Connects now, from `at`, whatever the state. */
  reconnect(): void {
    if (this.stopped) return;
    this.drop();
    this.attempt = 0;
    this.connect();
  }

  /** Cuts a wait short; does nothing to a connection that works. */
  hurry(): void {
    if (this.link.phase === 'waiting') this.reconnect();
  }

  private connect(): void {
    this.say({ phase: 'connecting' });
    const params = new URLSearchParams({ batch: '1', hello: '1' });
    const resumed = this.position !== null;
    if (this.position === null) params.set('snapshot', '1');
    else params.set('after', `${this.position.logId}:${this.position.seq}`);
    const socket = this.io.open(params);
    this.socket = socket;
    socket.onopen = () => {
      this.sink.opened(resumed);
      this.say({ phase: 'live' });
    };
    socket.onmessage = (event) => {
      this.attempt = 0;
      this.sink.frame(frame(event.data));
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      void this.broken();
    };
  }

  private async broken(): Promise<void> {
    this.attempt++;
    // The wait is between half and all of the step, so that many pages do not return in one moment.
    const step = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** (this.attempt - 1));
    const wait = step * (0.5 + this.io.random() / 2);
    const link: Link = { phase: 'waiting', attempt: this.attempt, retryAt: this.io.now() + wait };
    this.say(link);
    const status = await this.io.probe();
    if (this.link !== link || this.stopped) return;
    if (status === 401) return this.say({ phase: 'signin' });
    if (status === 403 || status === 421) return this.say({ phase: 'refused', status });
    this.timer = setTimeout(() => this.connect(), Math.max(0, link.retryAt - this.io.now()));
  }

  private drop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  private say(link: Link): void {
    this.link = link;
    this.sink.link(link);
  }
}
