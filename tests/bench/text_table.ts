/** Aligned tables for terminals that are Markdown as well. */

/** A row: one text per column. */
export type Row = readonly string[];

/**
 * The lines of a table; the columns named in `left` start at the left, the others end at the
 * right.
 */
export function textTable(head: Row, rows: readonly Row[], left = 1): string {
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map((r) => r[c].length)));
  const line = (row: Row) => {
    const cells = row.map((text, c) =>
      c < left ? text.padEnd(widths[c]) : text.padStart(widths[c])
    );
    return `| ${cells.join(" | ")} |`;
  };
  const rule = widths.map((w, c) => c < left ? "-".repeat(w) : `${"-".repeat(w - 1)}:`);
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** A number with about three digits that matter. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
