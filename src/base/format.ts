/** Numbers as people read them: durations, bytes, counts, rates and C's `%E`; the same words in every command. */

const unknown = '–';

/** `value` with three significant digits and the largest unit that keeps it at one or more; 999.96 becomes 1.00 of the next unit. */
function scaled(value: number, base: number, units: readonly string[], separator: string): string {
  let magnitude = Math.abs(value);
  let unit = 0;
  // 1024 itself is 1020 in three digits
  while (unit < units.length - 1 && (magnitude >= base || Number(magnitude.toPrecision(3)) >= base)) {
    magnitude /= base;
    unit++;
  }
  const digits = magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  const figures = unit === 0 && Number.isInteger(magnitude) ? String(magnitude) : magnitude.toFixed(digits);
  return `${value < 0 ? '-' : ''}${figures}${separator}${units[unit] ?? ''}`.trimEnd();
}

/**
 * Bytes in powers of 1000, as disks and networks count (`1.50 GB`), or of 1024 where memory is meant (`1.40 GiB`).
 */
export function formatBytes(bytes: number, options: { binary?: boolean } = {}): string {
  if (!Number.isFinite(bytes)) return unknown;
  return options.binary === true
    ? scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'], ' ')
    : scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], ' ');
}

const byteUnits: Readonly<Record<string, number>> = {
  ...{ B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30, TIB: 2 ** 40 },
};

/** The inverse of `formatBytes`, to whole bytes: `12GiB`, `1.5 GB`, `4096`; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const [, figures, unit] = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?$/i.exec(text.trim()) ?? [];
  const factor = byteUnits[(unit ?? 'B').toUpperCase()];
  return figures === undefined || factor === undefined ? undefined : Math.round(Number(figures) * factor);
}

/** A count in thousands, millions, …: `999`, `12.3k`, `1.24M`, `8.30B`, `1.00T`. */
export function formatCount(count: number): string {
  return Number.isFinite(count) ? scaled(count, 1000, ['', 'k', 'M', 'B', 'T'], '') : unknown;
}

/** A whole number with thousands separated by commas, the same in every locale: `1,234,567`. */
export function formatInteger(value: number): string {
  if (!Number.isFinite(value)) return unknown;
  const digits = String(Math.abs(Math.round(value)));
  const grouped = digits.replace(/\B(?=(\d{3})+$)/g, ',');
  return value < 0 && grouped !== '0' ? `-${grouped}` : grouped;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** A duration in its two largest units: `850 ms`, `12.3 s`, `4m 05s`, `3h 07m`, `2d 03h`; unknown or infinite is a dash. */
export function formatDuration(milliseconds: number): string {
  if (!Number.isFinite(milliseconds)) return unknown;
  const magnitude = Math.abs(milliseconds);
  const sign = milliseconds < 0 ? '-' : '';
  if (Math.round(magnitude) < 1000) return `${sign}${Math.round(magnitude)} ms`;
  if (Math.round(magnitude / 100) < 600) return `${sign}${(magnitude / 1000).toFixed(1)} s`;
  const seconds = Math.round(magnitude / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${sign}${minutes}m ${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${sign}${hours}h ${two(minutes % 60)}m`;
  return `${sign}${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/** C's and Python's `%.{digits}E`: two exponent digits at least, `1.234560E+01`, `nan`, `inf`. */
export function formatExponent(value: number, digits = 6): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const [mantissa = '', exponent = '+0'] = value.toExponential(digits).split('e');
  return `${Object.is(value, -0) ? '-' : ''}${mantissa}E${exponent.slice(0, 1)}${exponent.slice(1).padStart(2, '0')}`;
}

/** C's and Python's `%.{digits}f`, whatever the size of the number (`toFixed` alone changes form at 1e21). */
export function formatFixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Math.abs(value) < 1e21) return value.toFixed(digits);
  return `${BigInt(value)}${digits > 0 ? `.${'0'.repeat(digits)}` : ''}`;
}

/** Local time as `YYYY-MM-DD HH:MM:SS`. */
export function formatTimestamp(date: Date): string {
  const day = `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function isWide(codePoint: number): boolean {
  return (
    (codePoint >= 0x1100 && codePoint <= 0x115f) ||
    (codePoint >= 0x2e80 && codePoint <= 0xa4cf) ||
    (codePoint >= 0xac00 && codePoint <= 0xd7a3) ||
    (codePoint >= 0xf900 && codePoint <= 0xfaff) ||
    (codePoint >= 0xfe30 && codePoint <= 0xfe6f) ||
    (codePoint >= 0xff00 && codePoint <= 0xff60) ||
    (codePoint >= 0xffe0 && codePoint <= 0xffe6) ||
    (codePoint >= 0x1f300 && codePoint <= 0x1faff) ||
    (codePoint >= 0x20000 && codePoint <= 0x3fffd)
  );
}

const combining = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** Columns that `text` takes on a terminal: wide characters count two, combining ones none. No escape sequences, please. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (!combining.test(character)) width += isWide(character.codePointAt(0) ?? 0) ? 2 : 1;
  }
  return width;
}

/** `text` cut to at most `columns` terminal columns, with `…` where something was cut. */
export function truncateToWidth(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let width = 0;
  let kept = '';
  for (const character of text) {
    const step = displayWidth(character);
    if (width + step > columns - 1) break;
    width += step;
    kept += character;
  }
  return columns < 1 ? '' : `${kept}…`;
}
