// A connection may be dead without having been closed: then the log goes on and the stream does not.
export class Watch {
  private since: number | null = null;
  private received = -1;

  constructor(private readonly patience: number) {}

  /**
   * Takes how far the log is and how far the stream has come, at a time in milliseconds. Answers whether the
   * stream has stood still, behind the log, for longer than the patience; then it starts anew.
   */
  stuck(log: number, received: number, at: number): boolean {
    if (received >= log || received !== this.received || this.since === null) {
      this.received = received;
      this.since = at;
      return false;
    }
    if (at - this.since <= this.patience) return false;
    this.since = null;
    return true;
  }
}
