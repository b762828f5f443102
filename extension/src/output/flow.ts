/**
 * Limits what is drawn of a flood: a burst at once, then a steady rate; of what is more, the newest part is drawn and
 * the rest is counted. Pure: time comes from outside.
 */

export interface Limits {
  /** Characters drawn at once before anything is left out. */
  burst: number;
  /** Characters a second from then on. */
  rate: number;
  /** Characters of the newest text kept while nothing may be drawn. */
  tail: number;
}

export interface Portion {
  /** Characters left out before the text. */
  left: number;
  text: string;
}

export class Flow {
  #allowance: number;
  #at: number;
  #held: string[] = [];
  #heldLength = 0;
  #left = 0;
  #holding = false;
  /** While stored output is read: only its newest part will be drawn. */
  #tail: number;

  constructor(
    private readonly limits: Limits,
    now: number,
  ) {
    this.#allowance = limits.burst;
    this.#at = now;
    this.#tail = limits.tail;
  }

  get isHolding(): boolean {
    return this.#holding;
  }

  /** Draws nothing until `release`, and then the newest `tail` characters. */
  hold(tail: number): void {
    this.#holding = true;
    this.#tail = tail;
  }

  /** Takes text; returns what to draw of it now. */
  feed(text: string, now: number): Portion | undefined {
    this.#refill(now);
    if (!this.#holding && text.length <= this.#allowance) {
      this.#allowance -= text.length;
      return { left: 0, text };
    }
    this.#holding = true;
    this.#keep(text);
    return undefined;
  }

  /** What is due of the held text, if anything may be drawn by now. */
  drain(now: number): Portion | undefined {
    this.#refill(now);
    return this.#holding && this.#heldLength <= this.#allowance ? this.release() : undefined;
  }

  /** All that is held, at once. */
  release(): Portion {
    const portion = { left: this.#left, text: this.#held.join("") };
    this.#allowance = Math.max(0, this.#allowance - portion.text.length);
    this.#held = [];
    this.#heldLength = 0;
    this.#left = 0;
    this.#holding = false;
    this.#tail = this.limits.tail;
    return portion;
  }

  #keep(text: string): void {
    this.#held.push(text);
    this.#heldLength += text.length;
    while (this.#heldLength > this.#tail) {
      const first = this.#held[0] ?? "";
      const surplus = this.#heldLength - this.#tail;
      // whole lines where there are some
      const newline = first.indexOf("\n", surplus - 1);
      const cut =
        first.length <= surplus ? first.length : newline >= 0 && newline < first.length - 1 ? newline + 1 : surplus;
      if (cut >= first.length) this.#held.shift();
      else this.#held[0] = first.slice(cut);
      this.#heldLength -= Math.min(cut, first.length);
      this.#left += Math.min(cut, first.length);
    }
  }

  #refill(now: number): void {
    const passed = Math.max(0, now - this.#at) / 1000;
    this.#at = now;
    this.#allowance = Math.min(this.limits.burst, this.#allowance + passed * this.limits.rate);
  }
}
