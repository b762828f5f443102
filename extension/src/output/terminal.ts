/** Removes what only a terminal understands: escape sequences and control characters. Pure, works over any cut. */

// CSI, OSC and other strings up to their end, then the two- and three-character sequences (ECMA-48, 5.3–5.6)
const SEQUENCE =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])/g;
const UNFINISHED = /\u001b(?:\[[0-?]*[ -/]*|[\]PX^_][^\u0007\u001b]*\u001b?|[ -/]*)?$/;
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u0080-\u009f]/g;
/** A sequence longer than this is none: its text is shown. */
const LONGEST = 4096;

export class TerminalText {
  #rest = "";

  /** The readable part of the next piece; a sequence cut at its end waits for the piece after it. */
  write(piece: string): string {
    const text = this.#rest + piece;
    const unfinished = UNFINISHED.exec(text);
    const end = unfinished && text.length - unfinished.index <= LONGEST ? unfinished.index : text.length;
    // a carriage return may be half of a line end
    const cut = end === text.length && text.endsWith("\r") ? end - 1 : end;
    this.#rest = text.slice(cut);
    return text
      .slice(0, cut)
      .replace(SEQUENCE, "")
      .replace(/\r+\n/g, "\n")
      .replace(/\r/g, "\n") // a progress line that overwrites itself
      .replace(CONTROL, "");
  }
}
