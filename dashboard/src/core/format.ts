// Numbers, durations and times as the reader's language writes them.
export interface Format {
  integer(n: number): string;
  /** Exact below a million, then short: 1.84 M. */
  short(n: number): string;
  rate(n: number): string;
  percent(ratio: number): string;
  /** In whole percents. */
  share(ratio: number): string;
  /** The percentage without its sign. */
  points(ratio: number): string;
  duration(ms: number): string;
  /** A whole number of one unit, for the marks of a scale. */
  mark(ms: number): string;
  /** The mark of a time axis whose marks are a step apart. */
  tick(ms: number, step: number): string;
  /** How long ago, in one unit. */
  ago(ms: number): string;
  clock(ms: number): string;
  /** Hour and minute. */
  minute(ms: number): string;
  moment(ms: number): string;
}

/** Symbols of the units of time. */
export interface Units {
  microsecond: string;
  millisecond: string;
  second: string;
  minute: string;
  hour: string;
  day: string;
}

export function format(locale: string | undefined, symbols: Units): Format {
  const make = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(locale, options);
  const integer = make({ maximumFractionDigits: 0 });
  const short = make({ notation: 'compact', maximumSignificantDigits: 3 });
  const one = make({ maximumFractionDigits: 1 });
  const two = make({ minimumSignificantDigits: 2, maximumSignificantDigits: 2 });
  const percent = make({ style: 'percent', maximumFractionDigits: 1 });
  const share = make({ style: 'percent', maximumFractionDigits: 0 });
  const points = make({ maximumFractionDigits: 2 });
  const clock = new Intl.DateTimeFormat(locale, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  const minute = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const moment = new Intl.DateTimeFormat(locale, {
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    fractionalSecondDigits: 3,
    hourCycle: 'h23',
  });
  const three = make({ minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
  // A number and its unit stay on one line.
  const unit = (value: number, name: keyof Units, as = integer) =>
    `${as.format(value)}\u00a0${symbols[name]}`;

  function duration(ms: number): string {
    const value = Math.max(0, ms);
    if (value < 0.9995) return unit(Math.round(value * 1000), 'microsecond');
    if (value < 9.95) return unit(value, 'millisecond', two);
    if (value < 999.5) return unit(value, 'millisecond');
    if (value < 59_950) return unit(value / 1000, 'second', three);
    const seconds = Math.round(value / 1000);
    if (seconds < 3600) {
      return `${unit(Math.floor(seconds / 60), 'minute')} ${unit(seconds % 60, 'second')}`;
    }
    const minutes = Math.round(seconds / 60);
    if (minutes < 1440) {
      return `${unit(Math.floor(minutes / 60), 'hour')} ${unit(minutes % 60, 'minute')}`;
    }
    return `${unit(Math.floor(minutes / 1440), 'day')} ${unit(Math.floor((minutes % 1440) / 60), 'hour')}`;
  }

  function mark(ms: number): string {
    if (ms < 1) return unit(ms * 1000, 'microsecond');
    return ms < 1000 ? unit(ms, 'millisecond') : unit(ms / 1000, 'second');
  }

  function tick(ms: number, step: number): string {
    const none = Math.abs(ms) < step / 2;
    if (ms < 0 && !none) return `−${tick(-ms, step)}`;
    const size = none ? step : ms;
    if (size >= 3_600_000) return none ? unit(0, 'hour') : duration(size);
    if (size >= 60_000) {
      return none || step % 60_000 === 0 ? unit(none ? 0 : ms / 60_000, 'minute') : duration(size);
    }
    const [name, of]: [keyof Units, number] =
      size >= 1000 ? ['second', 1000] : size >= 1 ? ['millisecond', 1] : ['microsecond', 0.001];
    const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / of) - 1e-9)));
    return unit(none ? 0 : ms / of, name, make({ maximumFractionDigits: digits }));
  }

  function ago(ms: number): string {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    if (seconds < 60) return unit(seconds, 'second');
    if (seconds < 3600) return unit(Math.floor(seconds / 60), 'minute');
    if (seconds < 86_400) return unit(Math.floor(seconds / 3600), 'hour');
    return unit(Math.floor(seconds / 86_400), 'day');
  }

  return {
    integer: (n) => integer.format(n),
    short: (n) => (Math.abs(n) < 1e6 ? integer.format(n) : short.format(n)),
    rate: (n) => (Math.abs(n) < 9.95 ? one.format(n) : integer.format(n)),
    percent: (ratio) => percent.format(ratio),
    // Rounded down: what is not done is not at 100 %.
    share: (ratio) => share.format(Math.floor(ratio * 100 + 1e-9) / 100),
    // 99.999 % with a failure in it is not 100 %.
    points: (ratio) => points.format(ratio < 1 ? Math.min(ratio * 100, 99.99) : 100),
    duration,
    mark,
    tick,
    ago,
    clock: (ms) => clock.format(ms),
    minute: (ms) => minute.format(ms),
    moment: (ms) => moment.format(ms),
  };
}
