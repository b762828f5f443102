/** Small pieces of text that people read. Pure. */

/** `820 ms`, `4.2 s`, `3 min 05 s`, `2 h 03 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${pad(seconds % 60)} s`;
  const rounded = Math.round(seconds / 60);
  return `${Math.floor(rounded / 60)} h ${pad(rounded % 60)} min`;
}

/** `14:03:22` in the person's own time zone. */
export function clock(at: string | Date): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime())
    ? "?"
    : [date.getHours(), date.getMinutes(), date.getSeconds()].map(pad).join(":");
}

/** `14:03:22` today, `21 Nov 14:03` on another day. */
export function moment(at: string, now: Date): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "?";
  if (date.toDateString() === now.toDateString()) return clock(date);
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const year = date.getFullYear() === now.getFullYear() ? "" : ` ${date.getFullYear()}`;
  return `${day}${year} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** `1 file`, `3 files`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
}

/** What is known of changes; a folder without git has none that is. */
export function changed(files: number): string {
  return files > 0 ? `${count(files, "file")} changed` : "no change recorded";
}

/** With a capital letter. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `812 B`, `12 KB`, `3.4 MB`. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["KB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value).toString()} ${units[unit] ?? "TB"}`;
}

/** Lines of a change: `+12 −1`; empty when there are none. */
export function lines(change: { added: number; removed: number }): string {
  return [change.added > 0 ? `+${change.added}` : "", change.removed > 0 ? `−${change.removed}` : ""]
    .filter(Boolean)
    .join(" ");
}

/** The first line of a text, cut to `max` characters without breaking one. */
export function firstLine(text: string, max: number): string {
  const line = text.trim().split(/\r?\n/, 1)[0] ?? "";
  const characters = Array.from(line);
  const more = characters.length > max || line.length < text.trim().length;
  return more
    ? `${characters
        .slice(0, max - 1)
        .join("")
        .trimEnd()}…`
    : line;
}

/** Text that Markdown shows as it is, on one line: a prompt must not become a link or an image. */
export function plain(text: string): string {
  return text.replace(/\s+/g, " ").replace(/[\\`*_{}[\]()#+\-.!|<>~$&:@]/g, (mark) => `&#${mark.charCodeAt(0)};`);
}

/** Text that a list shows as it is: `$(bell)` in a file's name or in a prompt must not become an icon. */
export function iconless(text: string): string {
  return text.replaceAll("$(", "$\u200b(");
}

/** Any thrown thing in words. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pad(n: number): string {
  return n.toString().padStart(2, "0");
}
