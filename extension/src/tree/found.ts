/** What is said about looking for repositories, and while it takes time. Pure. */

import type { FoundRepo } from "../protocol";
import { count } from "../text";

/** How far git is, without the place it works in meanwhile. */
export function progressWords(message = ""): string {
  return message.startsWith("Cloning into ") ? "" : message;
}

/** How far a bar goes on: git counts each of its phases from 0, and a bar never goes back. */
export function advance(shown: number, percentage: number | undefined): number {
  return Math.max(0, Math.min(100, percentage ?? 0) - shown);
}

/** `3 repositories found in work, 1 of them is listed already.` */
export function foundWords(found: FoundRepo[], places: string[]): string {
  const where = places.join(", ");
  if (found.length === 0) return `No repository was found in ${where}.`;
  const listed = found.filter(({ registered }) => registered).length;
  const all = `${count(found.length, "repository", "repositories")} found in ${where}`;
  if (listed === 0) return `${all}.`;
  if (listed === found.length) return `${all}, listed already.`;
  return `${all}, ${listed.toLocaleString("en-US")} of them ${listed === 1 ? "is" : "are"} listed already.`;
}
