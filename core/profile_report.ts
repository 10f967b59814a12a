/** What a profile found: rows by kernel, a table for the terminal, and a trace for a viewer. */

import { kernelLabel } from "../kernels/label.ts";
import type { DispatchRecord, HostSpan } from "./backend/profiler.ts";

/** All calls of the kernels with one label. */
export interface ProfileRow {
  /** Family, formula and sizes, e.g. "matmul 1000×784×256". */
  readonly kernel: string;
  /** How often it ran. */
  readonly calls: number;
  /** Milliseconds on the device in all; null where kernels cannot be timed. */
  readonly totalMs: number | null;
  /** Microseconds of one call, the mean. */
  readonly meanUs: number | null;
  /** Part of the time of all kernels, from 0 to 1. */
  readonly share: number | null;
  /** 10⁹ floating-point operations a second, for families that count theirs. */
  readonly gflops: number | null;
  /** 10⁹ bytes of operands a second. */
  readonly gbps: number | null;
}

/** What a report is made from. */
export interface ProfileData {
  /** The device, in words. */
  readonly device: string;
  /** Why no kernel has a time, in a sentence; null where they have. */
  readonly untimed: string | null;
  /** Steps that were profiled. */
  readonly steps: number;
  /** From the start of the first step until the device had done all, in ms. */
  readonly wallMs: number;
  /** Host µs for each kernel call. */
  readonly hostUsPerDispatch: number;
  /** Whether the host was timed while it also took times, which costs it some µs a call. */
  readonly hostWhileProfiling: boolean;
  /** Kernel calls in their order. */
  readonly dispatches: readonly DispatchRecord[];
  /** Submissions of the host. */
  readonly submits: readonly HostSpan[];
  /** Waits of the host for the device. */
  readonly waits: readonly HostSpan[];
}

/**
 * Where the time of some steps went, kernel by kernel.
 *
 * @example
 * ```ts
 * import { profile, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([1, 2, 3], { device });
 * const report = await profile(() => x.mul(x).sum().dispose(), { device, steps: 4 });
 * assertEquals(report.rows.reduce((calls, row) => calls + row.calls, 0), report.dispatches);
 * ```
 */
export class ProfileReport {
  readonly #data: ProfileData;
  /** A row for each kernel, the one with the most time first. */
  readonly rows: readonly ProfileRow[];

  /**
   * Made by `profile` and by `ProfileSession.stop`.
   *
   * @param data what was found
   */
  constructor(data: ProfileData) {
    this.#data = data;
    this.rows = rowsOf(data.dispatches, data.untimed === null);
  }

  /** The device, in words. */
  get device(): string {
    return this.#data.device;
  }

  /** Why no kernel has a time, in a sentence; null where they have. */
  get untimed(): string | null {
    return this.#data.untimed;
  }

  /** Steps that were profiled. */
  get steps(): number {
    return this.#data.steps;
  }

  /** Kernel calls of all steps. */
  get dispatches(): number {
    return this.#data.dispatches.length;
  }

  /** Milliseconds of all kernels on the device; null where they cannot be timed. */
  get deviceMs(): number | null {
    return this.#data.untimed === null ? this.rows.reduce((ms, row) => ms + row.totalMs!, 0) : null;
  }

  /** Milliseconds from the start of the first step until the device had done all. */
  get wallMs(): number {
    return this.#data.wallMs;
  }

  /** Microseconds that the host needs to work out, record and submit one kernel call. */
  get hostUsPerDispatch(): number {
    return this.#data.hostUsPerDispatch;
  }

  /**
   * The rows as aligned text.
   *
   * @param most rows at most; the rest is summed up in a last one
   * @returns lines without a final line break
   * @throws {RangeError} if `most` is below 1
   */
  table(most = 30): string {
    if (!(most >= 1)) {
      throw new RangeError(`Cannot print a profile: expected 1 row or more, found ${most}`);
    }
    const shown = this.rows.length > most
      ? [...this.rows.slice(0, most - 1), restOf(this.rows.slice(most - 1))]
      : this.rows;
    const head = ["kernel", "calls", "total ms", "mean µs", "share", "GFLOP/s", "GB/s"];
    return [...this.#summary(), "", ...aligned([head, ...shown.map(cellsOf)])].join("\n");
  }

  /**
   * The kernel calls, submissions and waits as a trace in Chrome's format, which chrome://tracing and ui.perfetto.dev open.
   *
   * The clocks of host and device have no common zero: the first kernel is put at the end of the first submission.
   *
   * @returns JSON text
   */
  chromeTrace(): string {
    return JSON.stringify({ displayTimeUnit: "ms", traceEvents: traceEvents(this.#data) });
  }

  #summary(): string[] {
    const { steps, device, submits, wallMs, untimed, hostWhileProfiling } = this.#data;
    const kernels = this.deviceMs === null ? "" : `kernels ${number(this.deviceMs)} ms, `;
    const host = `host ${number(this.hostUsPerDispatch)} µs a dispatch`;
    const lines = [
      `${steps} ${steps === 1 ? "step" : "steps"} on ${device}: ${this.dispatches} dispatches, ` +
      `${submits.length} ${submits.length === 1 ? "submission" : "submissions"}`,
      `${kernels}wall ${number(wallMs)} ms, ${host}${
        hostWhileProfiling ? " (with the profiler's own work)" : ""
      }`,
    ];
    return untimed === null ? lines : [...lines, `Not timed: ${untimed}`];
  }
}

interface Sums {
  calls: number;
  us: number;
  flops: number;
  counted: boolean;
  bytes: number;
}

function rowsOf(dispatches: readonly DispatchRecord[], timed: boolean): ProfileRow[] {
  const byLabel = new Map<string, Sums>();
  for (const { kernel, bytes, duration } of dispatches) {
    const label = kernelLabel(kernel);
    let sums = byLabel.get(label);
    if (sums === undefined) {
      byLabel.set(label, sums = { calls: 0, us: 0, flops: 0, counted: false, bytes: 0 });
    }
    sums.calls++;
    sums.us += duration ?? 0;
    sums.flops += kernel.flops ?? 0;
    sums.counted ||= kernel.flops !== undefined;
    sums.bytes += bytes;
  }
  const all = [...byLabel.values()].reduce((us, sums) => us + sums.us, 0);
  const rows = [...byLabel].map(([kernel, sums]) => rowOf(kernel, sums, timed ? all : null));
  return rows.sort((a, b) => (b.totalMs ?? b.calls) - (a.totalMs ?? a.calls));
}

function rowOf(kernel: string, { calls, us, flops, counted, bytes }: Sums, all: number | null) {
  const rate = (amount: number) => us > 0 ? amount / us / 1000 : null;
  return {
    kernel,
    calls,
    totalMs: all === null ? null : us / 1000,
    meanUs: all === null ? null : us / calls,
    share: all === null ? null : all === 0 ? 0 : us / all,
    gflops: all === null || !counted ? null : rate(flops),
    gbps: all === null ? null : rate(bytes),
  };
}

function restOf(rows: readonly ProfileRow[]): ProfileRow {
  const sum = (of: (row: ProfileRow) => number | null) =>
    rows.some((row) => of(row) === null) ? null : rows.reduce((total, row) => total + of(row)!, 0);
  const calls = sum((row) => row.calls)!;
  const totalMs = sum((row) => row.totalMs);
  return {
    kernel: `${rows.length} more`,
    calls,
    totalMs,
    meanUs: totalMs === null ? null : totalMs * 1000 / calls,
    share: sum((row) => row.share),
    gflops: null,
    gbps: null,
  };
}

const LONGEST_LABEL = 64;

function cellsOf(row: ProfileRow): string[] {
  const { kernel, calls, totalMs, meanUs, share, gflops, gbps } = row;
  const label = kernel.length > LONGEST_LABEL ? `${kernel.slice(0, LONGEST_LABEL - 1)}…` : kernel;
  const percent = share === null ? "–" : `${(share * 100).toFixed(1)} %`;
  return [
    label,
    `${calls}`,
    number(totalMs),
    number(meanUs),
    percent,
    number(gflops),
    number(gbps),
  ];
}

/** Three significant digits or more, or a dash. */
function number(value: number | null): string {
  if (value === null) return "–";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toFixed(digits);
}

/** Columns of equal width, the first to the left. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  return rows.map((row) =>
    row.map((cell, c) => c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])).join("  ")
  );
}

const HOST = 1;
const DEVICE = 2;

function traceEvents({ device, dispatches, submits, waits }: ProfileData): unknown[] {
  const starts = [...dispatches.map(({ host }) => host.start), ...submits.map((s) => s.start)];
  const zero = Math.min(...starts, ...waits.map((s) => s.start));
  const row = (name: string, tid: number, span: HostSpan, args: unknown = {}) =>
    event(name, HOST, tid, (span.start - zero) * 1000, (span.end - span.start) * 1000, args);
  const first = submits.length > 0 ? (submits[0].end - zero) * 1000 : 0;
  const timed = dispatches.filter(({ start }) => start !== null);
  return [
    name("process_name", HOST, 0, "host"),
    name("thread_name", HOST, 1, "kernel calls"),
    name("thread_name", HOST, 2, "submissions"),
    name("thread_name", HOST, 3, "waits"),
    name("process_name", DEVICE, 0, device),
    name("thread_name", DEVICE, 1, "kernels"),
    ...dispatches.map(({ kernel, host }) => row(kernelLabel(kernel), 1, host)),
    ...submits.map((span) => row("submit", 2, span)),
    ...waits.map((span) => row("wait", 3, span)),
    ...timed.map(({ kernel, bytes, start, duration }) =>
      event(kernelLabel(kernel), DEVICE, 1, first + start!, duration!, {
        bytes,
        flops: kernel.flops,
      })
    ),
  ];
}

function event(
  name: string,
  pid: number,
  tid: number,
  ts: number,
  dur: number,
  args: unknown,
): unknown {
  return { name, ph: "X", pid, tid, ts, dur, args };
}

function name(what: string, pid: number, tid: number, label: string): unknown {
  return { name: what, ph: "M", pid, tid, args: { name: label } };
}
